-- Each request is another user's; each answer must hold the customer made of its own token.
-- Arguments: the file of the callers, the number of the first of them, and the access key if it is
-- not the file's.

local jwts, access_key, number = {}, nil, 0
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  for line in io.lines(arguments[1]) do
    if access_key then jwts[#jwts + 1] = line else access_key = line end
  end
  number = tonumber(arguments[2])
  if arguments[3] and arguments[3] ~= "" then access_key = arguments[3] end
end

function request()
  local user = number
  number = number + 1
  if user >= #jwts then
    exhausted = true
    wrk.thread:stop()
    user = 0
  end
  return wrk.format("POST", "/v1/users/user/current/stripe_info?access_key=" .. access_key,
    {["Authorization"] = "Bearer " .. jwts[user + 1], ["Content-Type"] = "application/json"},
    '{"coord_targeted_token": "tok_' .. user .. '"}')
end

bad, said, exhausted = 0, "", false

function response(status, headers, body)
  local token = string.match(body, '"tok_(%d+)"')
  if status ~= 200 or not token or not string.find(body, '"cus_' .. token .. '"', 1, true) then
    bad = bad + 1
    said = status .. " " .. string.sub(body, 1, 200)
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  local thread = threads[1]
  io.write(string.format(
    'RESULT {"answers": %d, "bad": %d, "exhausted": %s, "socket_errors": %d, "timeouts": %d,'
      .. ' "seconds": %f, "said": "%s"}\n',
    summary.requests, thread:get("bad"), tostring(thread:get("exhausted")),
    errors.connect + errors.read + errors.write, errors.timeout,
    summary.duration / 1e6,
    string.gsub(thread:get("said"), '[^%w%s{}:,._-]', "'")))
end
