"""A process in Python that takes part in tests: reads a command a line, answers each with a line."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "examples" / "python"))

import redis  # noqa: E402

import holdfast  # noqa: E402

# Whoever waits is woken by a push or not at all.
holdfast.POKE_INTERVAL = 3600.0

client = redis.Redis.from_url(sys.argv[1])
locks = holdfast.Locks(client)
lock = None

for line in sys.stdin:
    command, *words = line.split()
    try:
        if command == "acquire":
            name, ttl, timeout = words
            lock = locks.acquire(name, float(ttl), float(timeout))
            print(f"held {lock.fence}", flush=True)
        elif command == "try":
            found = locks.try_acquire(words[0])
            print("held" if found else "busy", flush=True)
        elif command == "release":
            print("released" if lock.release() else "gone", flush=True)
        elif command == "write":
            locks.write(lock, "HSET", words[0], "total", words[1])
            print("written", flush=True)
        elif command == "lost":
            print("lost" if lock.lost.wait(10) and not lock.held else "held", flush=True)
    except Exception as error:
        print(type(error).__name__, flush=True)
