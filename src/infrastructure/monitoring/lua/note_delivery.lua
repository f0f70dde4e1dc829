-- note_delivery: keep what became of a message that somebody sent by hand.
-- ARGV: source, id of the delivery, delivery (JSON), deliveries kept, for how long (ms)
note_delivery(ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]))
record()
return 1
