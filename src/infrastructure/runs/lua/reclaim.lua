-- reclaim: give back the runs that the store counts as this instance's and that it does not know: the answer to its claim
-- was lost, and nobody else may have them before their leases end. The attempt counts, though hardly any has begun: one
-- whose outcome was refused is no more known here either, and must not run again under the same number.
-- ARGV: instance, since (ms: none that was claimed earlier), known runs, their ids..., lane...
-- Reply: { now, how many }
local since, known, back = tonumber(ARGV[2]), {}, 0
local lanes = 4 + tonumber(ARGV[3])
for i = 4, lanes - 1 do known[ARGV[i]] = true end

local _, ours = lanes_known(lanes)
for _, lane in ipairs(ours) do
  local leased = redis.call('ZRANGE', PREFIX .. 'leases:' .. lane.name, 0, -1)
  load_all(leased)
  for _, id in ipairs(leased) do
    if not known[id] then
      local run = load(id)
      local is_ours = run and run.status == 'running' and run.owner == SOURCE
      if is_ours and tonumber(run.started) >= since then
        give_back(run, ',"why":"the answer to the claim of its instance was lost"')
        back = back + 1
      end
    end
  end
end
return { NOW_TEXT, back }
