/**
 * `cli` is the program `ringfence`: verbs that read their flags, call one function of another folder and print.
 *
 * The rule one must not break: no command decides anything itself, and each role loads only what it needs, so what runs beside
 * a database never loads the control plane.
 */
import { type Command, CommanderError } from 'commander'
import { RingfenceError } from '../base/errors.ts'
import { addRoleCommands, roleNames } from './commands/roles.ts'
import { UnreadableInput } from './options.ts'
import { exitCode, exitCodeOf, paint, printable } from './output.ts'
import { TellingCommand } from './telling-command.ts'
import { version } from './version.ts'

/** Runs one command line, without the names of Node.js and script, and sets `process.exitCode`. Never throws. */
export async function runProgram(args: readonly string[]): Promise<void> {
  const program = await programFor(args[0] ?? '')
  try {
    await program.parseAsync(args, { from: 'user' })
  } catch (reason) {
    process.exitCode = report(reason)
  }
}

/** Verbs that a person starts many times a day. */
const personVerbs: ReadonlySet<string> = new Set(['login', 'logout', 'whoami', 'connect', 'cqlsh'])

/** The commands that a command line beginning with `verb` may name. */
export async function programFor(verb: string): Promise<Command> {
  const program: Command = new TellingCommand('ringfence')
    .description('identity-aware service mesh for Apache Cassandra behind NGINX')
    .version(version, '-V, --version')
    .option('--no-color', 'no colours (also: NO_COLOR)')
    .showHelpAfterError('(ringfence --help lists the commands)')
    .enablePositionalOptions()
    .exitOverride()
  addRoleCommands(program)
  // What runs beside a database loads nothing of the operator's commands, which take a second; nor does a person's.
  if (personVerbs.has(verb)) (await import('./commands/connect.ts')).addPersonCommands(program)
  else if (!roleNames.includes(verb)) (await import('./commands/admin.ts')).addAdminCommands(program)
  return program
}

/** Prints what went wrong; the exit code for it. */
function report(reason: unknown): number {
  // Commander has printed its message; help and version end with 0.
  if (reason instanceof CommanderError) return reason.exitCode === 0 ? exitCode.ok : exitCode.usage
  const fault = RingfenceError.from(reason, 'UNAVAILABLE')
  // A policy's problems are one line each.
  const message = fault.message.split('\n').map(printable).join('\n')
  process.stderr.write(`${paint('error:', 'red')} ${message}\n`)
  if (fault.hint !== undefined) process.stderr.write(`  hint: ${printable(fault.hint)}\n`)
  if (process.env.RINGFENCE_LOG === 'debug') process.stderr.write(`${fault.stack}\n`)
  return reason instanceof UnreadableInput ? exitCode.unreadable : exitCodeOf(fault)
}
