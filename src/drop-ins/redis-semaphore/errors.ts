/** The lock was not to be had in time. */
export class TimeoutError extends Error {
  override readonly name = "TimeoutError";
}

/** The lock has ended although it was not released. */
export class LostLockError extends Error {
  override readonly name = "LostLockError";
}
