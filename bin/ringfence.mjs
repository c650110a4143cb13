#!/usr/bin/env node
// Runs with any Node.js from 20 on: hands over to the pinned Node.js (command.mjs says how).
import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { commandOf, nodeMajor } from './command.mjs'

const command = commandOf(process.argv.slice(2))
if (command === undefined) {
  process.stderr.write(`error: Node.js ${nodeMajor} is not installed here\n  hint: npm ci\n`)
  process.exit(1)
}

const child = spawn(command.file, command.args, { stdio: 'inherit', env: command.env })
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
