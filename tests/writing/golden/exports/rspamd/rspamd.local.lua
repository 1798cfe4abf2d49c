-- Maps of popgate for the selectors in settings.conf. It goes into rspamd.local.lua.
local selectors = require "lua_selectors"
local maps = require "lua_maps"
for _, name in ipairs({ "trusted", "granted" }) do
  selectors.maps["popgate_" .. name] = maps.map_add_from_ucl(
      "/var/lib/popgate-exports/rspamd/" .. name .. ".map", "radix", "popgate: " .. name)
end
