export interface Item {
  readonly text: string;
  readonly page: string;
  readonly file: string;
}
export const SECTIONS: readonly { readonly text: string; readonly items: readonly Item[] }[];
export const ENTRIES: ReadonlyMap<string, string>;
