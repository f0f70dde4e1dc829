-- leave: an instance that stops says so.
-- ARGV: instance
depart(SOURCE, 'stopped')
return 'ok'
