#!/usr/bin/env node
// The part of solc's command line that py-solc-x and forge use, over the npm compiler: --version and
// --standard-json. solcjs itself prints a notice to stdout, which breaks both callers.
'use strict';

const solc = require('solc');

const flags = process.argv.slice(2);
if (flags.includes('--version')) {
  // Both callers parse the version of a native build.
  const version = solc.version().replace('.Emscripten.clang', '.Linux.g++');
  process.stdout.write(`solc, the solidity compiler commandline interface\nVersion: ${version}\n`);
} else if (flags.includes('--standard-json')) {
  const chunks = [];
  process.stdin.on('data', (chunk) => chunks.push(chunk));
  process.stdin.on('end', () => process.stdout.write(solc.compile(Buffer.concat(chunks).toString('utf8'))));
} else {
  process.stderr.write(`only --version and --standard-json are supported, not: ${flags.join(' ')}\n`);
  process.exitCode = 1;
}
