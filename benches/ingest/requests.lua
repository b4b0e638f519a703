-- Makes wrk send the requests of a file in turn. In the file, each request follows its length in four
-- bytes, big-endian. Prints the responses by status, so that measure.py knows how many were acknowledged.

local requests, at = {}, 0
local threads = {}
answered = {}

function setup(thread)
   threads[#threads + 1] = thread
end

function init(arguments)
   local file = assert(io.open(arguments[1], "rb"))
   while true do
      local head = file:read(4)
      if not head then break end
      local a, b, c, d = head:byte(1, 4)
      local body = file:read(((a * 256 + b) * 256 + c) * 256 + d)
      requests[#requests + 1] = wrk.format("POST", nil, nil, body)
   end
end

function request()
   at = at % #requests + 1
   return requests[at]
end

function response(status)
   answered[status] = (answered[status] or 0) + 1
end

function done(summary)
   local all = {}
   for _, thread in ipairs(threads) do
      for status, count in pairs(thread:get("answered")) do
         all[status] = (all[status] or 0) + count
      end
   end
   for status, count in pairs(all) do
      io.write(string.format("answered %d %d\n", status, count))
   end
   io.write(string.format("microseconds %d\n", summary.duration))
end
