/** What is used of a client of @upstash/redis: its way to send any command, and batches of them, over HTTP. */

/** One command's reply: strings come as strings, whatever the client's own commands are set to. */
export interface HttpReply {
  readonly result?: unknown;
  readonly error?: string | undefined;
}

export interface HttpRequest {
  /** Behind the URL: `pipeline`, `multi-exec`, or nothing for a single command. */
  readonly path?: readonly string[];
  readonly body: readonly string[] | readonly (readonly string[])[];
}

export interface HttpSender {
  readonly retry?: { readonly attempts: number; readonly backoff: (attempt: number) => number };
  request(request: HttpRequest): Promise<HttpReply | readonly HttpReply[]>;
}

/** `new Redis({ url, token })`, of its entries for Node, Cloudflare and Fastly alike. */
export interface UpstashClient {
  evalsha(sha: string, keys: string[], args: unknown[]): Promise<unknown>;
  pipeline(): object;
}

export function isUpstash(client: object): client is UpstashClient {
  const seen = client as Partial<UpstashClient> & { readonly client?: Partial<HttpSender> };
  return (
    typeof seen.evalsha === "function" &&
    typeof seen.pipeline === "function" &&
    typeof seen.client?.request === "function"
  );
}

/**
 * The client's sender. It retries by itself, for example when a reply was lost: a command may then run twice.
 *
 * @param retried called before each further attempt
 */
export function senderOf(client: UpstashClient, retried: () => void): HttpSender {
  const { client: sender } = client as unknown as { readonly client: HttpSender };
  const { retry } = sender;
  if (!retry) return sender;
  const backoff = (attempt: number): number => {
    retried();
    return retry.backoff(attempt);
  };
  // The user's own client stays as it is.
  return Object.create(sender, {
    retry: { value: { ...retry, backoff } },
    upstashSyncToken: { value: "", writable: true },
  }) as HttpSender;
}

/** What the server said, without the command that @upstash/redis puts behind it; or why it was not reached. */
export function plainError(error: unknown): Error {
  if (!(error instanceof Error)) return new Error(String(error));
  const { name, message, cause } = error;
  if (name === "UpstashError") return new Error(message.replace(/, command was: [^]*$/, ""), { cause: error });
  // fetch says only that it failed.
  const why = cause instanceof Error ? cause.message || ((cause as NodeJS.ErrnoException).code ?? "") : "";
  return why === "" ? error : new Error(why, { cause: error });
}
