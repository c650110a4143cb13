#!/usr/bin/env node
// Runs with any Node.js from 20 on: hands over to the pinned Node.js, which runs TypeScript as it stands.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'

const nodeMajor = 26
const main = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url))
const pinned = fileURLToPath(new URL('../node_modules/.bin/node', import.meta.url))
const own = Number(process.versions.node.split('.')[0]) >= nodeMajor

if (!existsSync(pinned) && !own) {
  process.stderr.write(`error: Node.js ${nodeMajor} is not installed here\n  hint: npm ci\n`)
  process.exit(1)
}

const child = spawn(existsSync(pinned) ? pinned : process.execPath, [main, ...process.argv.slice(2)], {
  stdio: 'inherit',
})
// A terminal sends Ctrl-C to both of us; from elsewhere it reaches only this process.
process.on('SIGINT', () => {
  if (!process.stdin.isTTY) child.kill('SIGINT')
})
for (const signal of ['SIGTERM', 'SIGHUP', 'SIGUSR2']) process.on(signal, () => child.kill(signal))
child.on('error', (error) => {
  process.stderr.write(`error: ${error.message}\n`)
  process.exit(1)
})
child.on('exit', (code, signal) => process.exit(code ?? 128 + (constants.signals[signal] ?? 0)))
