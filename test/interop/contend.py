"""redis-py's Lock: reads a counter, adds one and writes it back, again and again: contend.py URL NAME TIMES"""
import sys
import time

import redis

url, name, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = redis.Redis.from_url(url)
for _ in range(times):
    with client.lock(name, timeout=10, sleep=0.005):
        count = int(client.get("count") or 0)
        time.sleep(0.001)
        client.set("count", count + 1)
        client.rpush("grants", "peer")
    time.sleep(0.002)
