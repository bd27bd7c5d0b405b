import width from "string-width";

/** In as many columns as the terminal has, or else 80; at most 100, because longer lines are hard to read. */
export function wrapped(text: string, indent: number): string {
  const columns = Math.min(100, process.stdout.columns ?? 80);
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && indent + width(`${line} ${word}`) > columns) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line].join(`\n${" ".repeat(indent)}`);
}
