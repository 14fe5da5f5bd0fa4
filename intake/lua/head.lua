-- Every script of the gate begins with this text. The keys, their types and their lifetimes:
--
-- gate                     HASH    generation: raised by every rebuild, missing while the gate may not sell
--                                  highest: the highest generation that there ever was, also while that is missing
--                                  rebuilding: the mark of the rebuild under way
--                                  full: "1" while the server's memory is above the share at which sales stop
--                                  touched: counts writes made only so that WAIT has something to wait for
-- draw:<name>              HASH    from opening until the draw is archived:
--                                  id, opens_ms, cutoff_ms, last_ms (the gate's clock never runs backwards)
--                                  latch: "" open, "cutoff" or "closed" for good; stopped: "1" after a conflict
--                                  serial, sub: id of the journal's last record
--                                  marker: id of the close marker
--                                  tickets, stake, voids, voided_stake: counted at acceptance
--                                  limit_straight, limit_rambolito, limit_payout, pay_<class>: frozen at opening,
--                                  but for limits that an intent changes
--                                  numbered: "1" when some numbers have limits of their own (in the key `limits`)
--                                  intent:<id>: what an intent was answered
-- draw:<name>:journal      STREAM  one field, the record (intake/records.py): "r" as accepted, "b" written back from
--                                  PostgreSQL; as long as its draw
-- draw:<name>:ids          HASH    ticket id -> "<serial>" sold, "<serial>v" voided, "<serial>c" cancelled, "c" never sold
-- draw:<name>:exposure     HASH    "s<number>" or "r<sorted number>" -> live stake
-- draw:<name>:limits        HASH    "s<number>" or "r<sorted number>" -> its own limit of stake, in centavos
-- wallet:<agent>           HASH    available, seq (last outbox row applied)
--                                  status: "suspended", else "active" or missing; standing: the version that said so
--                                  sales_us, batches_us: when the agent's pace has caught up with what it was allowed
-- ended:<session>          STRING  a login that has ended; as long as one of its access tokens may live
-- batch:<token>            STRING  for 60 s what a batch was answered: "0" admitted, else the ms it was told to wait
-- tightened:<intent>       STRING  for a day what an intent was answered: "<generation>|applied or refused|available"
-- bell:<name>              STRING  set NX for 2 s: somebody has been told that this journal grows
--
-- All of them may be deleted together: the gate is rebuilt from PostgreSQL and what is left of the journals.
-- All checks come before the first write. A write that fails after it takes the generation away, so that nothing
-- is sold on half-done state before a rebuild.

local call = redis.call

-- Records behind one serial: a witness packs the number into 20 bits, and the close marker needs one.
local SUBS_MAX = 1048574

local function text(number) return string.format('%.0f', number) end

-- Now in ms, never before what this draw has already seen; and the server's own time in microseconds.
local function clock(last_ms)
  local t = call('TIME')
  local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
  return math.max(now, tonumber(last_ms or 0)), tonumber(t[1]) * 1000000 + tonumber(t[2])
end

-- Whether the gate is of the caller's generation and knows at least what the caller witnessed.
local function fenced(generation, draw, witness_serial, witness_sub)
  if call('HGET', 'gate', 'generation') ~= generation then return 'generation' end
  if not draw then return false end
  local serial, sub = tonumber(draw.serial), tonumber(draw.sub)
  local seen, seen_sub = tonumber(witness_serial), tonumber(witness_sub)
  if serial < seen or (serial == seen and sub < seen_sub) then return 'witness' end
  return false
end

local function load(key, fields)
  local values = call('HMGET', key, unpack(fields))
  if not values[1] then return nil end
  local found = {}
  for i, field in ipairs(fields) do found[field] = values[i] end
  return found
end

-- Does all writes of a call, or takes the generation away.
local function commit(writes)
  local done, problem = pcall(writes)
  if done then return nil end
  redis.call('HDEL', 'gate', 'generation')
  if type(problem) == 'table' then problem = problem.err end
  return {'fenced', tostring(problem)}
end

-- Appends to a journal that must exist: a vanished one must not begin anew.
local function append(journal, serial, sub, record)
  local id = text(serial) .. '-' .. text(sub)
  if not call('XADD', journal, 'NOMKSTREAM', id, 'r', record) then error('the journal is gone') end
  return id
end

local function record_at(journal, serial)
  local id = serial .. '-0'
  local found = call('XRANGE', journal, id, id)
  return found[1] and found[1][2][2]
end
