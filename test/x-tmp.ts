import { createClient } from "/work/main/node_modules/redis/dist/index.js";
import { LockManager } from "/work/main/src/index.ts";
for (const url of ["redis://127.0.0.1:20998", "redis://:wrong@127.0.0.1:20998"]) {
const c = createClient({url}); c.on("error", e => console.log("event", String(e)));
c.connect().catch(e => console.log("connect", String(e)));
await new Promise(r=>setTimeout(r,300));
for (let i=0;i<3;i++) {
const e = await new LockManager(c,{scheme: i==2?"set":"lua"}).acquire("x").catch(e=>e); console.log(e.code, e.message, String(e.cause), e.cause?.stack?.slice(0,300));
}
c.destroy();}
