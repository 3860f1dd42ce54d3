-- Linked into the program as bytecode, as the upstream's is.
local stood_in = { told = 0 }

function stood_in.start()
  if setup then
    setup({ set = function(_, name, value) _G[name] = value end })
  end
  if init then
    init({})
  end
  request()
end

return stood_in
