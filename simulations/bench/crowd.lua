-- wrk: every request is another signed statement, from a file of base64-free lines; the thread stops when they are used up.
local requests, at = {}, 0

function init(args)
  for line in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("POST", "/add", { ["Content-Type"] = "application/json" }, line)
  end
end

function request()
  at = at + 1
  return requests[at] or requests[#requests]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format('\nresult {"requests": %d, "seconds": %.6f, "refused": %d, "broken": %d, "p50_ms": %.3f, "p99_ms": %.3f}\n',
    summary.requests, summary.duration / 1e6, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
