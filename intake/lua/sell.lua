#!lua
-- Accepts tickets of one agent for one draw, one after the other and each as if it came alone, or says why not.
-- KEYS: draw, journal, ids, exposure, wallet, bell, limits, ended, batch
-- ARGV: generation, witnessed serial, witnessed sub, agent, session ("": none), microseconds between two sales or
--       batches at the agent's rate, "batch" or "single", then for each ticket: id, lines, stake, how many words follow,
--       and for each of its bets: stake, field, class, rambolito field, rambolito class, how many straight fields
--       follow, those fields (intake/bets.py)
-- Gives: fenced why | no_draw | answers ring answer…, with an answer for each ticket:
--        sold serial record | again state record serial sub (of the draw's last record) | cancelled serial sub
--        | conflict | cutoff | not_open | stopped | suspended | revoked | slow ms-to-wait | credit available
--        | sold_out (bet's index, left)… | full

local SECOND_US = 1000000
local BATCH_S = 60              -- longer than any batch is on its way
local TICKETS_AT, BET_WORDS = 8, 6

local draw = load(KEYS[1], {'serial', 'sub', 'cutoff_ms', 'opens_ms', 'latch', 'stopped', 'last_ms',
  'limit_straight', 'limit_rambolito', 'limit_payout', 'numbered', 'tickets', 'stake',
  'pay_straight', 'pay_rambolito', 'pay_rambolito_pair', 'pay_rambolito_distinct'})
local fence = fenced(ARGV[1], draw, ARGV[2], ARGV[3])
if fence then return {'fenced', fence} end
if not draw then return {'no_draw'} end

local agent, batch = ARGV[4], ARGV[7] == 'batch'
local pace = batch and 'batches_us' or 'sales_us'
local now, now_us = clock(draw.last_ms)
local serial, sub = tonumber(draw.serial), draw.sub
local pay_straight, limit_payout = tonumber(draw.pay_straight), tonumber(draw.limit_payout)

-- What the tickets of this call change. It is written at the end, in one write a key but for the journal: each is a
-- command more in the server's file.
local sold, sold_stake, states, records = {}, 0, {}, {}
local exposure, staked, own_limits = {}, {}, {}
local available, pace_us, paced, admitted, admitted_now
-- What every ticket of the call meets alike, once one has met it; and what is damaged: then nothing is written.
local shut, full, damage

-- The answer for an id that the gate knows; nil: it does not.
local function known(id, lines)
  local state, record = states[id], records[id]
  if not state then
    state = call('HGET', KEYS[3], id)
    if not state then return nil end
    if string.sub(state, -1) == 'c' then return {'cancelled', text(serial), sub} end
    record = record_at(KEYS[2], string.match(state, '^%d+'))
    if not record then
      damage = 'a known ticket is not in the journal'
      return {}
    end
  end
  local its_agent, its_lines = string.match(record, '^t|(%d+)|%x+|%d+|%-?%d+|(.*)$')
  if its_agent ~= agent or its_lines ~= lines then return {'conflict'} end
  return {'again', state, record, text(serial), sub}
end

-- Why nothing is sold of this draw or to this agent; false: it is.
local function closed()
  if draw.latch == 'cutoff' or now >= tonumber(draw.cutoff_ms) then return 'cutoff' end
  if draw.latch ~= '' or now < tonumber(draw.opens_ms) then return 'not_open' end
  if draw.stopped == '1' then return 'stopped' end
  local wallet = call('HMGET', KEYS[5], 'available', 'status', pace)
  available, pace_us = tonumber(wallet[1] or 0), tonumber(wallet[3] or 0)
  if wallet[2] == 'suspended' then return 'suspended' end
  if ARGV[5] ~= '' and call('EXISTS', KEYS[8]) == 1 then return 'revoked' end
  return false
end

-- The rate (GCRA): every sale puts the wallet's pace one interval on, and it may run a second ahead of the clock. What
-- is refused for it does not count, or a terminal that asks too often would never sell again. A batch counts once: its
-- first ticket decides for all. Gives the milliseconds to wait; false: none.
local function slowed()
  if batch and not admitted then admitted = call('GET', KEYS[9]) end
  if admitted then return admitted ~= '0' and admitted end
  -- Further ahead than it can get: the clock was set back, or another server's has taken over.
  if pace_us < now_us or pace_us > now_us + SECOND_US then pace_us = now_us end
  local next_us = pace_us + tonumber(ARGV[6])
  local ahead_us = next_us - now_us - SECOND_US
  local wait_ms = ahead_us > 0 and text(math.ceil(ahead_us / 1000))
  if not wait_ms then pace_us, paced = next_us, true end
  if batch then admitted, admitted_now = wait_ms or '0', true end
  return wait_ms
end

-- Fetches what stands on the fields of the bets in ARGV[at] to before ARGV[last], as far as this call does not know it,
-- and limits of their own.
local function fetch(at, last)
  local fields = {}
  local function want(field)
    if field ~= '' and not exposure[field] then
      exposure[field] = 0
      fields[#fields + 1] = field
    end
  end
  while at < last do
    want(ARGV[at + 1])
    want(ARGV[at + 3])
    local after = at + BET_WORDS + tonumber(ARGV[at + 5])
    for k = at + BET_WORDS, after - 1 do want(ARGV[k]) end
    at = after
  end
  if #fields == 0 then return end
  for i, value in ipairs(call('HMGET', KEYS[4], unpack(fields))) do
    if value then exposure[fields[i]] = tonumber(value) end
  end
  if draw.numbered ~= '1' then return end
  if call('EXISTS', KEYS[7]) == 0 then damage = 'the limits by number are gone' end
  for i, value in ipairs(call('HMGET', KEYS[7], unpack(fields))) do own_limits[fields[i]] = value end
end

local function limit_of(field)
  local limit = string.sub(field, 1, 1) == 's' and draw.limit_straight or draw.limit_rambolito
  return tonumber(own_limits[field] or limit)
end

-- Puts the bets on what stands, each on top of those before it, so that the bets of one ticket count together, and takes
-- them all back if one does not fit or there is no memory. Gives (index, left) of those that do not fit.
local function place(at, last)
  fetch(at, last)
  local short, placed, index = {}, {}, 0
  while at < last do
    local amount, field, rambolito = tonumber(ARGV[at]), ARGV[at + 1], ARGV[at + 3]
    local after, worst = at + BET_WORDS + tonumber(ARGV[at + 5]), 0
    for k = at + BET_WORDS, after - 1 do worst = math.max(worst, exposure[ARGV[k]] * pay_straight) end
    if rambolito ~= '' then worst = worst + exposure[rambolito] * tonumber(draw['pay_' .. ARGV[at + 4]]) end
    local room = math.floor((limit_payout - worst) / tonumber(draw['pay_' .. ARGV[at + 2]]))
    local left = math.min(limit_of(field) - exposure[field], room)
    left = math.max(0, left - left % 100)
    index = index + 1
    if amount > left then
      short[#short + 1] = text(index)
      short[#short + 1] = text(left)
    else
      exposure[field] = exposure[field] + amount
      placed[#placed + 1] = field
      placed[#placed + 1] = amount
    end
    at = after
  end
  if #short == 0 and full == nil then full = call('HGET', 'gate', 'full') == '1' end
  local taken_back = #short > 0 or full
  for i = 1, #placed, 2 do
    if taken_back then
      exposure[placed[i]] = exposure[placed[i]] - placed[i + 1]
    else
      staked[placed[i]] = true
    end
  end
  return short
end

local function sell(id, lines, stake, at, last)
  local answer = known(id, lines)
  if answer then return answer end
  if shut == nil then shut = closed() end
  if shut then return {shut} end
  local wait_ms = slowed()
  if wait_ms then return {'slow', wait_ms} end
  if available < stake then return {'credit', text(available)} end
  local short = place(at, last)
  if #short > 0 then return {'sold_out', unpack(short)} end
  if full then return {'full'} end
  serial, sub, available, sold_stake = serial + 1, '0', available - stake, sold_stake + stake
  sold[#sold + 1], states[id] = id, text(serial)
  records[id] = table.concat({'t', agent, id, text(now), text(available), lines}, '|')
  return {'sold', states[id], records[id]}
end

local answers, at = {'answers', '0'}, TICKETS_AT
while at <= #ARGV do
  local first = at + 4
  local after = first + tonumber(ARGV[at + 3])
  answers[#answers + 1] = sell(ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), first, after)
  if damage then return {'fenced', damage} end
  at = after
end

local failed = commit(function()
  if shut == 'cutoff' and draw.latch == '' then call('HSET', KEYS[1], 'latch', 'cutoff', 'last_ms', text(now)) end
  local known_ids, stakes, wallet = {}, {}, {}
  for i, id in ipairs(sold) do
    append(KEYS[2], serial - #sold + i, 0, records[id])
    known_ids[2 * i - 1], known_ids[2 * i] = id, states[id]
  end
  for field in pairs(staked) do
    stakes[#stakes + 1] = field
    stakes[#stakes + 1] = text(exposure[field])
  end
  if #sold > 0 then wallet = {'available', text(available)} end
  if paced then
    wallet[#wallet + 1], wallet[#wallet + 2] = pace, text(pace_us)
  end
  if #wallet > 0 then call('HSET', KEYS[5], unpack(wallet)) end
  if admitted_now then call('SET', KEYS[9], admitted, 'EX', BATCH_S) end
  if #sold == 0 then return end
  call('HSET', KEYS[3], unpack(known_ids))
  call('HSET', KEYS[4], unpack(stakes))
  call('HSET', KEYS[1], 'serial', text(serial), 'sub', '0', 'last_ms', text(now),
    'tickets', text(tonumber(draw.tickets) + #sold), 'stake', text(tonumber(draw.stake) + sold_stake))
  if call('SET', KEYS[6], '1', 'NX', 'EX', 2) then answers[2] = '1' end
end)
if failed then return failed end
return answers
