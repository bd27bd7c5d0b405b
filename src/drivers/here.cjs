"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.here = __filename;
