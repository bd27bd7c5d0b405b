-- The last fence that was drawn in this call.
if drawn then call('SET', counter, format('%.0f', drawn), 'PX', FENCE_TTL) end
