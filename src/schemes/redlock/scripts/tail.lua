if high > was_high then call('HSET', node, 'high', digits(high)) end
