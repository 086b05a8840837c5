-- The health of all kinds of groupgate.io in Argo CD. It needs none of Lua's standard libraries.
-- Argo CD itself reports an object that is being deleted as Progressing.
local hs = {status = "Progressing", message = "Groupgate has not processed this generation yet."}
local status = obj.status or {}
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local function is(name, value)
  return conditions[name] ~= nil and conditions[name].status == value
end

local function health(value, name)
  hs.status = value
  hs.message = conditions[name].message
  return hs
end

if obj.kind == "PruneRun" then
  if is("Undone", "False") then
    if status.undo ~= nil and status.undo.finishedAt ~= nil then
      return health("Degraded", "Undone")
    end
    return health("Progressing", "Undone")
  end
  if is("Failed", "True") then
    return health("Degraded", "Failed")
  end
  if is("Complete", "True") then
    return health("Healthy", "Complete")
  end
  if conditions.Complete ~= nil and conditions.Complete.reason == "AwaitingApproval" then
    return health("Suspended", "Complete")
  end
  for _, name in ipairs({"Complete", "Planned"}) do
    if conditions[name] ~= nil then
      return health("Progressing", name)
    end
  end
  return hs
end

if status.observedGeneration ~= obj.metadata.generation or conditions.Ready == nil then
  return hs
end
if is("Stalled", "True") then
  return health("Degraded", "Stalled")
end
if is("Ready", "False") then
  -- The IMApp may be applied a moment after its policies: after 10 seconds the policy is Stalled.
  if conditions.Ready.reason == "TargetNotFound" then
    return health("Progressing", "Ready")
  end
  return health("Degraded", "Ready")
end
if not is("Ready", "True") then
  return health("Progressing", "Ready")
end
if not is("Programmed", "True") then
  hs.message = "Not every replica enforces this generation yet."
  if conditions.Programmed ~= nil then
    hs.message = conditions.Programmed.message
  end
  return hs
end

-- What is wrong with the vendor, or only suspicious, is in the message: it must not roll a change back.
health("Healthy", "Ready")
for _, name in ipairs({"Warning", "RoundBehind", "CallbacksVerified", "VendorReachable"}) do
  local condition = conditions[name]
  local bad = "False"
  if name == "Warning" or name == "RoundBehind" then
    bad = "True"
  end
  if is(name, bad) then
    hs.message = hs.message .. " " .. name .. ": " .. condition.message
  end
end
return hs
