/** The terminal while something is drawn on all of it: its second screen, the keyboard without echo, and its size. */
import { once } from "node:events";
import { emitKeypressEvents } from "node:readline";
import { createLogUpdate } from "log-update";
import type { Observer } from "../../observation/observer.ts";
import { signalExitCode } from "../exit-codes.ts";
import type { Key, Viewer } from "./viewer.ts";

const ENTER = "\x1b[?1049h\x1b[?25l";
const LEAVE = "\x1b[?25h\x1b[?1049l";
const CLEAR = "\x1b[2J\x1b[H";
/** Times count down between looks. */
const TICK = 1_000;

interface Keypress {
  readonly name?: string;
  readonly sequence?: string;
  readonly ctrl?: boolean;
  readonly meta?: boolean;
}

/** Some terminals do not know their size, and say 0. */
const terminal = {
  isTTY: true,
  write: (text: string): boolean => process.stdout.write(text),
  get columns(): number {
    return process.stdout.columns || 80;
  },
  get rows(): number {
    return process.stdout.rows || 24;
  },
};

export class Screen {
  #draw = drawer();
  #isEntered = false;
  readonly #leave = (): void => this.leave();

  /** @returns the exit code, when the viewer wants to leave */
  async run(observer: Observer, viewer: Viewer): Promise<number> {
    const show = (): void => this.#show(viewer);
    const resize = (): void => {
      this.#clear();
      show();
    };
    this.#enter();
    const stop = observer.watch(show);
    const ticking = setInterval(show, TICK);
    process.stdout.on("resize", resize);
    try {
      show();
      return await this.#keys(viewer, show, resize);
    } finally {
      stop();
      clearInterval(ticking);
      process.stdout.off("resize", resize);
      this.leave();
    }
  }

  /** One after the other: a key may ask the server first. */
  async #keys(viewer: Viewer, show: () => void, redraw: () => void): Promise<number> {
    const pressed: Keypress[] = [];
    let wake = (): void => {};
    const press = (_: string | undefined, key: Keypress): void => {
      pressed.push(key);
      wake();
    };
    process.stdin.on("keypress", press);
    try {
      for (;;) {
        const key = pressed.shift();
        if (!key) await new Promise<void>((resolve) => (wake = resolve));
        else if (key.ctrl && key.name === "c") return signalExitCode("SIGINT");
        else if (key.ctrl && key.name === "z") await this.#suspend(redraw);
        else if (!key.ctrl && !key.meta && (await viewer.press(keyOf(key)))) return 0;
        else if (key.name === "escape" && key.meta) await viewer.press({ text: "", name: "escape" });
        if (key) show();
      }
    } finally {
      process.stdin.off("keypress", press);
    }
  }

  #show(viewer: Viewer): void {
    if (!this.#isEntered) return;
    this.#draw(viewer.frame(terminal).join("\n"));
  }

  #enter(): void {
    this.#isEntered = true;
    process.once("exit", this.#leave);
    process.stdout.write(ENTER);
    // The default waits for half a second whether more follows an Escape.
    emitKeypressEvents(process.stdin, { escapeCodeTimeout: 50 } as never);
    process.stdin.setRawMode(true);
    process.stdin.resume();
    this.#clear();
  }

  /** Gives the terminal back as it was. */
  leave(): void {
    if (!this.#isEntered) return;
    this.#isEntered = false;
    process.off("exit", this.#leave);
    process.stdin.setRawMode(false);
    process.stdin.pause();
    process.stdout.write(LEAVE);
  }

  /** The screen was drawn for another size, or by other programs. */
  #clear(): void {
    process.stdout.write(CLEAR);
    this.#draw = drawer();
  }

  async #suspend(redraw: () => void): Promise<void> {
    this.leave();
    const continued = once(process, "SIGCONT");
    process.kill(process.pid, "SIGSTOP");
    await continued;
    this.#enter();
    redraw();
  }
}

function drawer(): ReturnType<typeof createLogUpdate> {
  // The cursor is hidden and shown with the rest of the screen.
  return createLogUpdate(terminal as unknown as NodeJS.WritableStream, { showCursor: true });
}

function keyOf({ name = "", sequence = "" }: Keypress): Key {
  return { name: name === "enter" ? "return" : name, text: /^.$/u.test(sequence) ? sequence : "" };
}
