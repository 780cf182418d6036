"""What tests share: a strict HTTP/1 reader, a raw client, origins that follow a script, and a running gateway."""
