-- Health of an InferenceModel for Argo CD:
-- argo-cd.readthedocs.io/en/stable/operator-manual/health (custom health checks).
local health = {status = "Progressing", message = "The operator has not seen this version yet."}
local status = obj.status
if status == nil or status.observedGeneration ~= obj.metadata.generation then
  return health
end
local found = {}
for _, condition in ipairs(status.conditions or {}) do
  found[condition.type] = condition
end
local function holds(kind)
  return found[kind] ~= nil and found[kind].status == "True"
end
local function report(state, kind)
  local condition = found[kind]
  return {status = state, message = condition.reason .. ": " .. condition.message}
end
if holds("Stalled") then
  return report("Degraded", "Stalled")
end
if holds("Paused") then
  return report("Suspended", "Paused")
end
if holds("Reconciling") then
  return report("Progressing", "Reconciling")
end
if holds("Ready") then
  return report("Healthy", "Ready")
end
if found["Ready"] ~= nil then
  return report("Progressing", "Ready")
end
return health
