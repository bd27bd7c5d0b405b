const { LockManager } = require("holdfast");
void import("holdfast").then((module) => console.log(typeof LockManager, module.LockManager === LockManager));
