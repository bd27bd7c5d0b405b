/** docs/observability/grafana-dashboard.json by Grafana's own schema: no field that it does not know, none missing. */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const run = promisify(execFile);
const root = fileURLToPath(new URL("..", import.meta.url));
const text = readFileSync(join(root, "docs/observability/grafana-dashboard.json"), "utf8");

interface Panel {
  readonly type: string;
  readonly options?: object;
  readonly fieldConfig?: { readonly defaults?: { readonly custom?: object } };
}

/** What the schema says of dashboards, and of the panels that ours has. Its enums are strings in JSON. */
const HEAD = `
import type { Dashboard } from "@grafana/schema/dist/esm/raw/dashboard/x/Dashboard_types.gen";
import type * as stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as timeseries from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

type Json<T> = unknown extends T ? T
  : T extends string ? \`\${T}\`
  : T extends readonly (infer U)[] ? Json<U>[]
  : T extends object ? { [K in keyof T]: Json<T[K]> }
  : T;
`;

async function complaints(dashboard: string): Promise<string> {
  mkdirSync(join(root, ".cache"), { recursive: true });
  const folder = mkdtempSync(join(root, ".cache", "grafana-"));
  try {
    const { panels } = JSON.parse(dashboard) as { panels: Panel[] };
    const parts = panels.map(({ type, options = {}, fieldConfig }, i) => {
      const custom = fieldConfig?.defaults?.custom;
      return [
        `export const options${i}: Partial<Json<${type}.Options>> = ${JSON.stringify(options)};`,
        ...(custom ? [`export const custom${i}: Json<${type}.FieldConfig> = ${JSON.stringify(custom)};`] : []),
      ].join("\n");
    });
    const file = join(folder, "dashboard.ts");
    writeFileSync(file, [HEAD, `export const dashboard: Json<Dashboard> = ${dashboard};`, ...parts].join("\n"));
    const settings = ["--strict", "--skipLibCheck", "--module", "esnext", "--moduleResolution", "bundler"];
    const args = [join(root, "node_modules/typescript/bin/tsc"), "--noEmit", "--ignoreConfig", ...settings, file];
    const { stdout } = await run(process.execPath, args, { cwd: root }).catch((error: { stdout: string }) => error);
    return stdout;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test("the dashboard is one by Grafana's schema", async () => {
  expect(await complaints(text)).toBe("");
});

test("and what is not would be found", async () => {
  expect(await complaints(text.replace('"calcs": [],', ""))).toContain("'calcs' is missing");
  expect(await complaints(text.replace('"refresh"', '"refrehs"'))).toContain("refrehs");
});
