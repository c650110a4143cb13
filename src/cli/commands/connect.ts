/** `connect` and `cqlsh`: any tool works as the person who is logged in. */
import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Command } from 'commander'
import { formatHostPort, type HostPort, parseHostPort, setting } from '../options.ts'
import { type Format, paint, print, printable, printJson } from '../output.ts'
import { withOutput } from './admin-command.ts'
import { addPeople, folderOf, type ProfileFlags, withProfile } from './people.ts'

/** The same words are not said again for so long. */
const repeatMs = 60_000

interface ConnectFlags extends ProfileFlags {
  readonly output: Format
  readonly listen: HostPort
  readonly credentialsFile?: string
}

/** All that a person does with a log-in. */
export function addPersonCommands(program: Command): void {
  addPeople(program)
  addConnect(program)
}

function addConnect(program: Command): void {
  withOutput(
    withProfile(program.command('connect').description('let tools of this machine in as the person logged in')),
  )
    .addOption(
      setting('connect', '--listen <address:port>', 'on loopback; port 0 takes a free one')
        .argParser(parseHostPort)
        .default({ address: '127.0.0.1', port: 9042 }, '127.0.0.1:9042'),
    )
    .option('--credentials-file <file>', 'ask tools for a password, which is written there (mode 0600)')
    .addHelpText(
      'after',
      `
Tools use that address without TLS and without a password. On Linux only those of
your own user are let in; with --credentials-file those that have the password.

Runs until Ctrl-C. Ends with 1 where a log-in is due or the door refuses, 64 for
an address that is not on loopback.`,
    )
    .action(connect)
  withProfile(program.command('cqlsh').description('start cqlsh as the person logged in'))
    .option('--cqlsh <file>', 'the program; the one in PATH by default')
    .argument('[args...]', 'for cqlsh, such as -e "SELECT …"')
    .allowUnknownOption()
    .passThroughOptions()
    .addHelpText('after', '\nEnds as cqlsh ends; with 1 where it is not there, a log-in is due or the door refuses.')
    .action(cqlsh)
}

async function connect(flags: ConnectFlags): Promise<void> {
  const { listen, credentialsFile } = flags
  const [folder, { startConnect }] = await Promise.all([folderOf(flags), import('../../people/connect/start.ts')])
  if (credentialsFile !== undefined) mkdirSync(dirname(credentialsFile), { recursive: true, mode: 0o700 })
  const running = await startConnect(folder, { listen, credentialsFile, isForPerson: false, say: sayer() })
  const { tokens, guard, door } = running
  const who = tokens.name ?? tokens.subject
  const at = formatHostPort({ address: running.address, port: running.port })
  if (flags.output === 'json') {
    printJson({ listen: at, person: who, profile: folder.name, door: formatHostPort(door), guard, credentialsFile })
  } else {
    print(`${paint(at, 'bold')} is Cassandra as ${who}`)
    print(`door     ${formatHostPort(door)}`)
    print(`tools    ${guards[guard](credentialsFile ?? '')}`)
  }
  let stopped: () => void = () => {}
  const ended = new Promise<void>((resolve) => {
    stopped = resolve
  })
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, stopped)
  await ended
  running.stop()
  process.exit(0)
}

const guards: Readonly<Record<'credentials' | 'user' | 'none', (file: string) => string>> = {
  credentials: (file) => `those with the user and password in ${file}`,
  user: () => 'those of your own user, without TLS and without a password',
  none: () =>
    `${paint('every user of this machine', 'red')}: this system does not tell whose\n         a connection is; --credentials-file asks for a password`,
}

async function cqlsh(args: string[], flags: ProfileFlags & { cqlsh?: string }): Promise<void> {
  const [folder, { runCqlsh }] = await Promise.all([folderOf(flags), import('../../people/cqlsh.ts')])
  process.exitCode = await runCqlsh(folder, flags.cqlsh, args, sayer())
}

/** For the terminal, with the time; not the same again and again, as tools try again and again. */
function sayer(): (words: string) => void {
  let [before, saidAtMs] = ['', 0]
  return (words) => {
    const nowMs = Date.now()
    if (words === before && nowMs - saidAtMs < repeatMs) return
    before = words
    saidAtMs = nowMs
    process.stderr.write(`${new Date(nowMs).toISOString().slice(11, 19)} ${printable(words)}\n`)
  }
}
