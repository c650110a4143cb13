/** What the commands of an operator share: where the admin socket is, and how to print. */
import { userInfo } from 'node:os'
import { type Command, Option } from 'commander'
import { setting } from '../options.ts'
import type { Format } from '../output.ts'

export interface AdminFlags {
  readonly stateDir: string
  readonly output: Format
}

/** Every command that talks to the admin socket takes these. */
export function adminCommand(parent: Command, name: string, description: string): Command {
  const stateDir = setting('control', '--state-dir <dir>', 'of the control plane').default('.ringfence/control')
  return withOutput(parent.command(name).description(description).addOption(stateDir))
}

/** `-o table` or `-o json`. */
export function withOutput(command: Command): Command {
  return command.addOption(
    new Option('-o, --output <format>', 'how to print').choices(['table', 'json']).default('table'),
  )
}

/** Who does it: as they say, else the user who runs this. */
export function byOf({ by }: { readonly by?: string | undefined }): string {
  const { SUDO_USER: sudo } = process.env
  return by ?? sudo ?? userInfo().username
}
