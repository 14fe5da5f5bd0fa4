#!lua
-- Accepts one ticket, or says why not.
-- KEYS: draw, journal, ids, exposure, wallet, bell, limits, ended, batch
-- ARGV: generation, witnessed serial, witnessed sub, agent, ticket id, lines, stake, session ("": none),
--       microseconds between two sales or batches at the agent's rate, "batch" or "single", then one bet per argument:
--       "field|class|stake|rambolito field|rambolito class|straight field,…" (intake/bets.py)
-- Gives: sold serial record ring | again state record serial sub (of the draw's last record) | cancelled serial sub | conflict | no_draw | cutoff | not_open | stopped
--        | suspended | revoked | slow ms-to-wait | credit available | sold_out (bet's index, left)… | full | fenced why

local SECOND_US = 1000000
local BATCH_S = 60              -- longer than any batch is on its way

local draw = load(KEYS[1], {'serial', 'sub', 'cutoff_ms', 'opens_ms', 'latch', 'stopped', 'last_ms',
  'limit_straight', 'limit_rambolito', 'limit_payout', 'numbered', 'tickets', 'stake',
  'pay_straight', 'pay_rambolito', 'pay_rambolito_pair', 'pay_rambolito_distinct'})
local fence = fenced(ARGV[1], draw, ARGV[2], ARGV[3])
if fence then return {'fenced', fence} end
if not draw then return {'no_draw'} end

local agent, id, lines, stake = ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])

local known = call('HGET', KEYS[3], id)
if known then
  if string.sub(known, -1) == 'c' then return {'cancelled', draw.serial, draw.sub} end
  local record = record_at(KEYS[2], string.match(known, '^%d+'))
  if not record then return {'fenced', 'a known ticket is not in the journal'} end
  local its_agent, its_lines = string.match(record, '^t|(%d+)|%x+|%d+|%-?%d+|(.*)$')
  if its_agent ~= agent or its_lines ~= lines then return {'conflict'} end
  return {'again', known, record, draw.serial, draw.sub}
end

local now, now_us = clock(draw.last_ms)
if draw.latch == 'cutoff' then return {'cutoff'} end
if now >= tonumber(draw.cutoff_ms) then
  if draw.latch == '' then call('HSET', KEYS[1], 'latch', 'cutoff', 'last_ms', text(now)) end
  return {'cutoff'}
end
if draw.latch ~= '' or now < tonumber(draw.opens_ms) then return {'not_open'} end
if draw.stopped == '1' then return {'stopped'} end

local batch = ARGV[10] == 'batch'
local pace = batch and 'batches_us' or 'sales_us'
local wallet = call('HMGET', KEYS[5], 'available', 'status', pace)
if wallet[2] == 'suspended' then return {'suspended'} end
if ARGV[8] ~= '' and call('EXISTS', KEYS[8]) == 1 then return {'revoked'} end

-- The rate (GCRA): every sale puts the wallet's pace one interval on, and it may run a second ahead of the clock. What
-- is refused for it does not count, or a terminal that asks too often would never sell again. A batch counts once: its
-- first ticket decides for all.
local decided = batch and call('GET', KEYS[9])
if decided and decided ~= '0' then return {'slow', decided} end
local next_us
if not decided then
  local pace_us = tonumber(wallet[3] or 0)
  -- Further ahead than it can get: the clock was set back, or another server's has taken over.
  if pace_us < now_us or pace_us > now_us + SECOND_US then pace_us = now_us end
  next_us = pace_us + tonumber(ARGV[9])
  local ahead_us = next_us - now_us - SECOND_US
  if ahead_us > 0 then
    local wait_ms = text(math.ceil(ahead_us / 1000))
    if batch then call('SET', KEYS[9], wait_ms, 'EX', BATCH_S) end
    return {'slow', wait_ms}
  end
end
-- With the fields of the wallet that change besides.
local function count(...)
  local fields = {...}
  if next_us then
    fields[#fields + 1], fields[#fields + 2] = pace, text(next_us)
    if batch then call('SET', KEYS[9], '0', 'EX', BATCH_S) end
  end
  if #fields > 0 then call('HSET', KEYS[5], unpack(fields)) end
end
local function refuse(...)
  count()
  return {...}
end

local available = tonumber(wallet[1] or 0)
if available < stake then return refuse('credit', text(available)) end

-- Every bet is looked at on top of those before it, so that the bets of one ticket count together.
local bets, fields, wanted = {}, {}, {}
local function want(field)
  if field ~= '' and not wanted[field] then
    wanted[field] = true
    fields[#fields + 1] = field
  end
end
for i = 11, #ARGV do
  local field, class, amount, rambolito, rambolito_class, straights =
    string.match(ARGV[i], '^([^|]*)|([^|]*)|(%d+)|([^|]*)|([^|]*)|(.*)$')
  local outcomes = {}
  for straight in string.gmatch(straights, '[^,]+') do
    outcomes[#outcomes + 1] = straight
    want(straight)
  end
  want(field)
  want(rambolito)
  bets[#bets + 1] = {field = field, pay = tonumber(draw['pay_' .. class]), amount = tonumber(amount), outcomes = outcomes,
    limit = tonumber(string.sub(field, 1, 1) == 's' and draw.limit_straight or draw.limit_rambolito),
    rambolito = rambolito, rambolito_pay = tonumber(draw['pay_' .. rambolito_class] or 0)}
end
local exposure = {}
for i, value in ipairs(call('HMGET', KEYS[4], unpack(fields))) do exposure[fields[i]] = tonumber(value or 0) end
if draw.numbered == '1' then
  if call('EXISTS', KEYS[7]) == 0 then return {'fenced', 'the limits by number are gone'} end
  local own = {}
  for i, bet in ipairs(bets) do own[i] = bet.field end
  for i, value in ipairs(call('HMGET', KEYS[7], unpack(own))) do bets[i].limit = tonumber(value or bets[i].limit) end
end

local pay_straight, limit_payout = tonumber(draw.pay_straight), tonumber(draw.limit_payout)
local short = {}
for i, bet in ipairs(bets) do
  local worst = 0
  for _, straight in ipairs(bet.outcomes) do worst = math.max(worst, exposure[straight] * pay_straight) end
  worst = worst + (exposure[bet.rambolito] or 0) * bet.rambolito_pay
  local left = math.min(bet.limit - exposure[bet.field], math.floor((limit_payout - worst) / bet.pay))
  left = math.max(0, left - left % 100)
  if bet.amount > left then
    short[#short + 1] = text(i)
    short[#short + 1] = text(left)
  else
    exposure[bet.field] = exposure[bet.field] + bet.amount
  end
end
if #short > 0 then return refuse('sold_out', unpack(short)) end
if call('HGET', 'gate', 'full') == '1' then return refuse('full') end

local serial = tonumber(draw.serial) + 1
local record = table.concat({'t', agent, id, text(now), text(available - stake), lines}, '|')
-- One write a key: each is a command more in the server's file.
local staked = {}
for i, bet in ipairs(bets) do staked[2 * i - 1], staked[2 * i] = bet.field, text(exposure[bet.field]) end
local ring
local failed = commit(function()
  append(KEYS[2], serial, 0, record)
  count('available', text(available - stake))
  call('HSET', KEYS[3], id, text(serial))
  call('HSET', KEYS[4], unpack(staked))
  call('HSET', KEYS[1], 'serial', text(serial), 'sub', '0', 'last_ms', text(now),
    'tickets', text(tonumber(draw.tickets) + 1), 'stake', text(tonumber(draw.stake) + stake))
  ring = call('SET', KEYS[6], '1', 'NX', 'EX', 2)
end)
if failed then return failed end
return {'sold', text(serial), record, ring and '1' or '0'}
