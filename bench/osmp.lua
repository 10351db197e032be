-- What wrk sends: a pay of its own for each request, from agents and to numbers at random.
-- After the "--": the run (digits that no other run has), how many numbers there are, the first
-- one less one, the sum, and each agent as CODE=BASE64 of its name and password.

local threads = {}

function setup(thread)
    thread:set("place", #threads)
    table.insert(threads, thread)
end

function init(args)
    run, numbers, before = args[1], tonumber(args[2]), tonumber(args[3])
    agents = {}
    for i = 5, #args do
        local code, basic = args[i]:match("^([^=]+)=(.*)$")
        agents[#agents + 1] = {
            "GET /osmp/" .. code .. "?command=pay&txn_id=" .. run .. string.format("%02d", place),
            "&sum=" .. args[4] .. "&txn_date=20260101120000&trm_id=1 HTTP/1.1\r\n"
                .. "Host: 127.0.0.1\r\nAuthorization: Basic " .. basic .. "\r\n\r\n",
        }
    end
    math.randomseed(tonumber(run) * 100 + place)
    asked, done_well, done_badly, example = 0, 0, 0, ""
end

function request()
    asked = asked + 1
    local agent = agents[math.random(#agents)]
    local number = string.format("%.0f", before + math.random(numbers))
    return agent[1] .. string.format("%09d", asked) .. "&account=" .. number .. agent[2]
end

function response(status, headers, body)
    if status == 200 and body:find("<result>0</result>", 1, true) then
        done_well = done_well + 1
    else
        done_badly = done_badly + 1
        example = status .. " " .. body
    end
end

function done(summary, latency, requests)
    local asked, well, badly, example = 0, 0, 0, ""
    for _, thread in ipairs(threads) do
        asked = asked + thread:get("asked")
        well = well + thread:get("done_well")
        badly = badly + thread:get("done_badly")
        example = thread:get("example") ~= "" and thread:get("example") or example
    end
    local faults = summary.errors
    io.write(string.format(
        "\nRESULT %d %d %d %d %d %.3f %.3f %.3f %s\n",
        asked, well, badly,
        faults.connect + faults.read + faults.write + faults.timeout,
        summary.duration,
        latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000,
        example:gsub("%s+", " ")
    ))
end
