threads 16, 16

# Take the sockets of muster (LISTEN_FDS) and no others.
bind_to_activated_sockets "only"

# With its queue, puma hangs up at the end on what it has accepted and not yet
# read. Without it, each thread reads for itself and answers "Connection: close",
# and nothing is lost. Behind a proxy that tries again you may leave this out.
queue_requests false
