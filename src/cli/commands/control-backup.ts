/** `control backup` and `control restore`. */
import { type Command, Option } from 'commander'
import { RingfenceError } from '../../base/errors.ts'
import type { BackupSecret } from '../../control/backup/sealed.ts'
import { readInput, setting } from '../options.ts'
import { print, printJson } from '../output.ts'
import { version } from '../version.ts'

interface BackupFlags {
  readonly stateDir: string
  readonly passphraseFile?: string
  readonly keyFile?: string
  readonly output: string
}

const passphraseCharsMin = 12
const keyBytes = 32

export function addControlBackup(control: Command): void {
  withFlags(
    control
      .command('backup <file>')
      .description('write keys and store of the control plane, which may run meanwhile, into one encrypted file'),
  ).action(async (file: string, given: BackupFlags, command: Command) => {
    const flags = withParents(given, command)
    const { backUp } = await import('../../control/backup/backup.ts')
    const order = { stateDir: flags.stateDir, file, secret: secretOf(flags), version, nowMs: Date.now() }
    const { bytes, ...about } = await backUp(order)
    if (flags.output === 'json') printJson({ file, bytes, ...about })
    else print(`${file}: ${bytes} bytes, policy revision ${about.revision}, epoch ${about.epoch}`)
  })
  withFlags(
    control
      .command('restore <file>')
      .description('make the folder of a control plane out of a backup; it is to be empty, and no control plane runs'),
  ).action(async (file: string, given: BackupFlags, command: Command) => {
    const flags = withParents(given, command)
    const [{ readFileSync }, { restore }] = await Promise.all([
      import('node:fs'),
      import('../../control/backup/restore.ts'),
    ])
    const secret = secretOf(flags)
    let bytes: Buffer
    try {
      bytes = readFileSync(file)
    } catch {
      // Said in its words.
      readInput(file, 'the backup')
      return
    }
    const { about, ...renewed } = await restore({ stateDir: flags.stateDir, file: bytes, secret, nowMs: Date.now() })
    if (flags.output === 'json') printJson({ stateDir: flags.stateDir, ...about, ...renewed })
    else {
      const { revision, madeMs } = about
      print(
        `${flags.stateDir}: the state of ${new Date(madeMs).toISOString()}, policy revision ${revision}, now of epoch ${renewed.epoch}; ${renewed.tokensVoid} join tokens that were not used are void`,
      )
    }
  })
}

function withFlags(command: Command): Command {
  return command
    .addOption(setting('control', '--state-dir <dir>', 'of the control plane').default('.ringfence/control'))
    .addOption(setting('control', '--passphrase-file <file>', 'passphrase in a file, or - for standard input'))
    .addOption(setting('control', '--key-file <file>', 'or 32 random bytes in base64: openssl rand -base64 32'))
    .addOption(new Option('-o, --output <format>', 'how it is told').choices(['table', 'json']).default('table'))
}

/** `ringfence control --state-dir <dir> backup <file>` means the same folder. */
function withParents(flags: BackupFlags, { parent }: Command): BackupFlags {
  const isGiven = parent?.getOptionValueSource('stateDir') === 'cli'
  return isGiven ? { ...flags, stateDir: parent.getOptionValue('stateDir') as string } : flags
}

/** @throws RingfenceError USAGE */
function secretOf({ passphraseFile, keyFile }: BackupFlags): BackupSecret {
  if ((passphraseFile === undefined) === (keyFile === undefined)) {
    throw new RingfenceError('USAGE', 'a backup is encrypted: give --passphrase-file or --key-file, one of them')
  }
  if (keyFile !== undefined) {
    const text = readInput(keyFile, '--key-file').trim()
    const bytes = Buffer.from(text, 'base64')
    if (!/^[A-Za-z0-9+/]+=*$/.test(text) || bytes.length < keyBytes) {
      throw new RingfenceError('USAGE', `${keyFile} is no key of ${keyBytes} bytes in base64`, {
        hint: 'openssl rand -base64 32 makes one',
      })
    }
    return { kind: 'key', bytes }
  }
  const text = readInput(passphraseFile ?? '-', '--passphrase-file').replace(/\r?\n$/, '')
  if (text.length < passphraseCharsMin) {
    throw new RingfenceError('USAGE', `the passphrase is shorter than ${passphraseCharsMin} characters`)
  }
  return { kind: 'passphrase', text }
}
