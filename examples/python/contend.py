"""Several threads take one lock again and again and count, with no other protection than the lock.

    python3 contend.py redis://127.0.0.1:6379 NAME TIMES [THREADS]

Each time a thread holds the lock it reads the counter `count:NAME`, adds one and writes it back in a second command,
and appends its fence to the list `fences:NAME`. If two ever held at once, a count would be lost.
"""

import sys
import threading

import redis

import holdfast


def main(url, name, times, threads="2"):
    client = redis.Redis.from_url(url)
    locks = holdfast.Locks(client)

    def work():
        for _ in range(int(times)):
            with locks.acquire(name, timeout=30) as lock:
                count = int(client.get(f"count:{name}") or 0)
                client.set(f"count:{name}", count + 1)
                client.rpush(f"fences:{name}", f"{lock.fence} python")

    workers = [threading.Thread(target=work) for _ in range(int(threads))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    locks.close()
    client.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
