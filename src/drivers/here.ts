/**
 * Where this code is installed: a file's URL, or undefined if it became part of a bundle. CommonJS has no import.meta,
 * so that build has here.cjs instead of this file.
 */
// @ts-ignore: see above.
export const here: string | undefined = import.meta.url;
