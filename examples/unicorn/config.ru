# A Rack program that says which release and process answers.
RELEASE = File.read("RELEASE").strip

run lambda { |env|
  ms = env["QUERY_STRING"][/ms=(\d+)/, 1].to_i
  sleep ms / 1000.0
  [200, { "Content-Type" => "text/plain" }, ["hello from release=#{RELEASE} pid=#{Process.pid}\n"]]
}
