/** Dashboards served on loopback. */
import { createServer } from "node:http";
import type { RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import type { View } from "../../src/dashboard/view.ts";

export interface Served {
  readonly url: string;
  close(): Promise<void>;
}

export async function serve(listener: RequestListener): Promise<Served> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The views in a body of server-sent events. Leaving the loop cancels the stream. */
export async function* viewsIn({ body }: Response): AsyncGenerator<View, void, void> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      yield JSON.parse(text.slice("data: ".length, end)) as View;
      text = text.slice(end + 2);
    }
  }
}

/** The first view that is as wanted. */
export async function viewWhere(response: Response, isWanted: (view: View) => boolean): Promise<View> {
  for await (const view of viewsIn(response)) if (isWanted(view)) return view;
  throw new Error("The events ended before such a view.");
}
