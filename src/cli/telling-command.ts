/**
 * A command that tells all faults of its command line at once: wrong values, unknown and missing flags, missing and superfluous arguments.
 * commander ends at the first of them; here they are kept until the command would run.
 */
import { Command } from 'commander'

type ErrorOptions = Parameters<Command['error']>[1]

/** Faults behind which a command line is read on. */
const kept: ReadonlySet<string | undefined> = new Set([
  'commander.invalidArgument',
  'commander.optionMissingArgument',
  'commander.missingMandatoryOptionValue',
  'commander.conflictingOption',
  'commander.unknownOption',
  'commander.missingArgument',
  'commander.excessArguments',
])
const shownMax = 20

export class TellingCommand extends Command {
  readonly #faults: string[]
  #unknown: readonly string[] = []
  #misread = false
  #runs = false

  /** Commands of one program share `faults`. */
  constructor(name?: string, faults: string[] = []) {
    super(name)
    this.#faults = faults
    this.hook('preAction', (_, command) => this.#tell(command))
  }

  override createCommand(name?: string): TellingCommand {
    return new TellingCommand(name, this.#faults)
  }

  override action(run: Parameters<Command['action']>[0]): this {
    this.#runs = true
    return super.action(run)
  }

  override parseOptions(args: string[]): ReturnType<Command['parseOptions']> {
    const parsed = super.parseOptions(args)
    this.#unknown = parsed.unknown
    return parsed
  }

  override error(message: string, options?: ErrorOptions): never {
    // A command that only holds others never runs.
    if (!kept.has(options?.code) || (this.commands.length > 0 && !this.#runs)) super.error(message, options)
    // Values of unknown flags count as arguments.
    if (options?.code === 'commander.excessArguments' && this.#misread) return undefined as never
    this.#misread ||= options?.code === 'commander.unknownOption'
    this.#faults.push(message)
    const others = options?.code === 'commander.unknownOption' ? this.#unknown.slice(1) : []
    this.#unknown = []
    for (const flag of others) {
      // Its values stand among the flags.
      if (flag.startsWith('-')) (this as unknown as { unknownOption(flag: string): void }).unknownOption(flag)
    }
    return undefined as never
  }

  /** As in commander, but that a value which is none leaves the one of before. Part of commander that is not in its types; flags.test.ts holds it. */
  _callParseArg(
    target: { parseArg?: (value: string, previous: unknown) => unknown },
    value: string | undefined,
    previous: unknown,
    message: string,
  ): unknown {
    try {
      return value === undefined ? previous : target.parseArg?.(value, previous)
    } catch (reason) {
      if (!(reason instanceof Error) || !('code' in reason) || reason.code !== 'commander.invalidArgument') throw reason
      this.error(`${message} ${reason.message}`, { code: reason.code })
    }
    return previous
  }

  #tell(command: Command): void {
    const faults = this.#faults.splice(0)
    if (faults.length === 0) return
    const shown = faults.slice(0, shownMax)
    if (faults.length > shownMax) shown.push(`error: and ${faults.length - shownMax} more`)
    // `command` keeps faults; the way out is commander's own.
    Command.prototype.error.call(command, shown.join('\n'))
  }
}
