/** Frees a lock by force, once its name has been typed. */
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { HolderView, LockView, ReleaseOrder, ReleaseOutcome } from "../view.ts";
import { urlOf } from "./place.ts";
import { counted, visible } from "./text.ts";

/** @param lock as the viewer saw it: those who have followed its holders since are not robbed */
export function ReleaseDialog({ lock, close }: { lock: LockView; close: () => void }): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  const { name, holders } = lock;
  const [typed, setTyped] = useState("");
  const [outcome, setOutcome] = useState("");
  const [isBusy, setBusy] = useState(false);
  useEffect(() => dialog.current?.showModal(), []);
  const free = async (event: Event): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    setOutcome(await release({ name, tokens: holders.map(({ token }) => token) }));
    setBusy(false);
  };
  const isConfirmed = typed === visible(name);
  return (
    <dialog ref={dialog} aria-labelledby="free" onClose={close}>
      <h2 id="free">Free by force</h2>
      {outcome ? (
        <p role="status">{outcome}</p>
      ) : (
        <form id="confirm" onSubmit={(event) => void free(event)}>
          <p>
            This takes{" "}
            <strong class="name">
              <bdi>{visible(name)}</bdi>
            </strong>{" "}
            from {whom(holders)}, who may still be working, and lets the next in the queue in. Stop the holder instead
            if you can.
          </p>
          <label>
            Type the lock's name to confirm
            <input
              type="text"
              autocomplete="off"
              spellcheck={false}
              value={typed}
              onInput={(event) => setTyped(event.currentTarget.value)}
            />
          </label>
        </form>
      )}
      <div class="buttons">
        <button type="button" onClick={() => dialog.current?.close()}>
          {outcome ? "Close" : "Cancel"}
        </button>
        {!outcome && (
          <button type="submit" form="confirm" class="danger" disabled={!isConfirmed || isBusy}>
            Free
          </button>
        )}
      </div>
    </dialog>
  );
}

function whom([first, ...others]: readonly HolderView[]): string {
  if (others.length > 0) return counted(others.length + 1, "holder");
  return visible(first?.label || first?.clientLabel || "its holder");
}

/** @returns how it came out, in words */
async function release(order: ReleaseOrder): Promise<string> {
  try {
    const response = await fetch(urlOf("release"), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(order),
    });
    if (!response.ok) return `The lock was not freed. ${await response.text()}`;
    const { freed } = (await response.json()) as ReleaseOutcome;
    if (freed.length === 0) return "Nothing was freed: the holder released the lock in the meantime.";
    return `Freed from ${counted(freed.length, "holder")}.`;
  } catch {
    return "The dashboard could not be reached. Whether the lock was freed is not known.";
  }
}
