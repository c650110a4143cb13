#!/usr/bin/env node
/**
 * What `npm start`, `npm test` and their like run first. Plain JavaScript without a dependency, because on a fresh clone
 * there is only the Node.js that the machine has (20 or later): it installs the npm packages, among them the pinned
 * Node.js, and hands over to that.
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const scripts = new Map([
  ['demo', 'demo/main.ts'],
  ['cluster', 'demo/cluster.ts'],
  ['test', 'scripts/test.ts'],
  ['check', 'scripts/check.ts'],
  ['bench', 'bench/run.ts'],
  ['record', 'bench/record/main.ts'],
  ['outage', 'test/outage/run.ts'],
  ['production', 'test/production/run.ts'],
  ['soak', 'test/soak/run.ts'],
  ['drill', 'test/drill/run.ts'],
  ['fuzz:cql', 'test/oracle/fuzz-cql.ts'],
])

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const [verb = '', ...args] = process.argv.slice(2)
const script = scripts.get(verb)
if (script === undefined) fail(`usage: node scripts/bootstrap.mjs ${[...scripts.keys()].join('|')} [options]`)
if (Number(process.versions.node.split('.')[0]) < 20) {
  fail(`Node.js 20 or later is needed to begin with; this is ${process.version}`)
}

installPackages()
handOver(join(root, 'node_modules', '.bin', 'node'), [join(root, script), ...args])

function installPackages() {
  const lockFile = join(root, 'package-lock.json')
  // npm writes this one last, so an interrupted installation is done again.
  const installed = join(root, 'node_modules', '.package-lock.json')
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(lockFile).mtimeMs) return
  console.log('Installing the npm packages of package-lock.json (npm ci), among them the pinned Node.js …')
  const started = Date.now()
  const npm = process.env.npm_execpath
  const [command, before] = npm?.endsWith('.js') ? [process.execPath, [npm]] : ['npm', []]
  // Development packages too, whatever NODE_ENV says: the pinned Node.js is one of them.
  const npmArgs = [...before, 'ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error']
  const result = spawnSync(command, npmArgs, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] })
  if (result.status !== 0) fail(`npm ci failed${result.error ? `: ${result.error.message}` : ''}`, result.status ?? 1)
  console.log(`Installed in ${Math.round((Date.now() - started) / 1000)} s.`)
}

function handOver(node, nodeArgs) {
  const child = spawn(node, nodeArgs, { cwd: root, stdio: 'inherit' })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      // A terminal sends Ctrl-C to the whole group, so the child has it already.
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal)
    })
  }
  child.on('error', (error) => fail(`cannot run ${node}: ${error.message}; remove node_modules and try again`))
  child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]))
}

function fail(message, code = 1) {
  console.error(message)
  process.exit(code)
}
