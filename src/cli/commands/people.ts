/** `login`, `logout`, `whoami`: a person at the terminal, by the identity provider that the company has. */
import { spawn } from 'node:child_process'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { RingfenceError } from '../../base/errors.ts'
import type { Profile, ProfileFolder, Tokens } from '../../people/profile.ts'
import { collect, type HostPort, parseHostPort, readInput } from '../options.ts'
import { type Format, formatDuration, paint, print, printable, printJson, table } from '../output.ts'
import { withOutput } from './admin-command.ts'

/** So long the provider or we wait for somebody to log in. */
const browserMsMax = 600_000

export interface ProfileFlags {
  readonly profile: string
  readonly configDir?: string
}

interface LoginFlags extends ProfileFlags {
  readonly output: Format
  readonly issuer?: string
  readonly clientId?: string
  readonly clientSecretFile?: string
  readonly scope?: string[]
  readonly resource?: string
  readonly audience?: string
  readonly token?: Profile['token']
  readonly redirectUri?: string
  readonly issuerCa?: string
  readonly door?: HostPort
  readonly ca?: string
  readonly browser?: boolean
  readonly device?: boolean
  readonly open: boolean
}

export function addPeople(program: Command): void {
  addLogin(program)
  withOutput(withProfile(program.command('logout').description('forget the log-in, here and at the identity provider')))
    .option('--forget', 'the settings of the profile too')
    .addHelpText('after', '\nEnds with 0, also where nobody was logged in.')
    .action(logout)
  withOutput(withProfile(program.command('whoami').description('who is logged in, and until when')))
    .addHelpText('after', '\nEnds with 0 where somebody is logged in, 1 where a log-in is due.')
    .action(whoami)
}

/** `--profile` and `--config-dir`. */
export function withProfile(command: Command): Command {
  return command
    .addOption(
      new Option('--profile <name>', 'which log-in, where there are several')
        .env('RINGFENCE_PROFILE')
        .default('default')
        .argParser(profileName),
    )
    .addOption(
      new Option('--config-dir <dir>', 'where log-ins are kept; ~/.config/ringfence by default').env(
        'RINGFENCE_CONFIG_DIR',
      ),
    )
}

export async function folderOf({ profile, configDir }: ProfileFlags): Promise<ProfileFolder> {
  const { configFolder, ProfileFolder } = await import('../../people/profile.ts')
  return new ProfileFolder(configFolder(configDir), profile)
}

function profileName(text: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(text)) return text
  throw new InvalidArgumentError('a name has letters, digits, dot, dash and underscore, at most 64')
}

function addLogin(program: Command): void {
  withOutput(withProfile(program.command('login').description('log in as a person, by your identity provider')))
    .option('--issuer <url>', 'of the identity provider, as the policy has it')
    .option('--client-id <id>', 'that this program has at the provider')
    .option('--client-secret-file <file>', 'for providers that give installed programs a secret (Google)')
    .option(
      '--scope <name>',
      'to ask for, instead of openid, profile and offline_access; may be repeated',
      collect(String),
    )
    .option('--resource <uri>', 'the API that the token is for (RFC 8707)')
    .option('--audience <name>', 'the same, for providers that call it so (Auth0)')
    .addOption(
      new Option('--token <kind>', 'that doors are shown: auto takes the access token where it is a JWT').choices([
        'auto',
        'access',
        'id',
      ]),
    )
    .option('--redirect-uri <uri>', 'as the provider knows it; http://127.0.0.1/callback by default')
    .option('--issuer-ca <file>', 'roots of a provider with certificates of its own')
    .option('--door <address:port>', 'where Cassandra is reached: NGINX, a gateway or a sidecar', parseHostPort)
    .option('--ca <file>', 'roots of the mesh (ringfence bundle show)')
    .addOption(new Option('--browser', 'log in by the browser of this machine').conflicts('device'))
    .option('--device', 'log in by a code that is typed on another device')
    .option('--no-open', 'print the address and open no browser')
    .addHelpText(
      'after',
      `
What is given is remembered for the profile; later "ringfence login" is enough.

Ends with 0 when somebody is logged in, 1 where the provider refuses or is away,
3 where others may read what is kept, 64 where something has to be given.`,
    )
    .action(login)
}

async function login(flags: LoginFlags): Promise<void> {
  const folder = await folderOf(flags)
  const profile = profileOf(flags, folder.profile())
  const [{ discover }, byDevice, byBrowser] = await Promise.all([
    import('../../people/provider.ts'),
    import('../../people/log-in-by-device.ts'),
    import('../../people/log-in-by-browser.ts'),
  ])
  byBrowser.redirectOf(profile.redirectUri)
  const provider = await discover(profile)
  const isByDevice = flags.device ?? (flags.browser !== true && !hasBrowser() && byDevice.canLogInByDevice(provider))
  const tokens = isByDevice
    ? await byDevice.logInByDevice(provider, profile, ({ address, code, wholeAddress, seconds }) => {
        say(`Open ${paint(printable(address), 'bold')} and type ${paint(printable(code), 'bold')}`)
        if (wholeAddress !== undefined) say(`or open ${printable(wholeAddress)}`)
        say(`Waiting for ${formatDuration(seconds * 1000)}; Ctrl-C ends it.`)
      })
    : await byBrowser.logInByBrowser(
        provider,
        profile,
        (address) => {
          say(`Log in in the browser, at ${paint(address, 'bold')}`)
          if (flags.open) openBrowser(address)
        },
        browserMsMax,
      )
  await folder.locked(async () => folder.write(profile, tokens))
  if (flags.output === 'json') printJson(shown(folder, profile, tokens))
  else {
    print(`logged in as ${tokens.name ?? tokens.subject} for ${formatDuration(tokens.expiresAtMs - Date.now())}`)
    print(
      tokens.refreshToken === undefined
        ? 'the provider gave nothing to renew it with (scope offline_access)'
        : 'renewed by itself when it is used',
    )
  }
}

/** What is given, else what is remembered. */
function profileOf(flags: LoginFlags, before: Profile | undefined): Profile {
  const { issuer = before?.issuer, clientId = before?.clientId } = flags
  if (issuer === undefined || clientId === undefined) {
    throw new RingfenceError('USAGE', `profile ${flags.profile} does not know where to log in yet`, {
      hint: 'ringfence login --issuer https://… --client-id … [--door host:9042 --ca bundle.pem]',
    })
  }
  const given: { [Key in keyof Profile]: Profile[Key] | undefined } = {
    issuer,
    clientId,
    clientSecret:
      flags.clientSecretFile === undefined
        ? undefined
        : readInput(flags.clientSecretFile, '--client-secret-file').trim(),
    scopes: flags.scope,
    resource: flags.resource,
    audience: flags.audience,
    token: flags.token ?? before?.token ?? 'auto',
    redirectUri: flags.redirectUri,
    issuerCaPem: flags.issuerCa === undefined ? undefined : readInput(flags.issuerCa, '--issuer-ca'),
    door: flags.door,
    doorCaPem: flags.ca === undefined ? undefined : readInput(flags.ca, '--ca'),
  }
  const filled = Object.entries(given).filter(([, value]) => value !== undefined)
  return { ...before, ...(Object.fromEntries(filled) as Partial<Profile>), issuer, clientId, token: given.token! }
}

async function logout(flags: ProfileFlags & { output: Format; forget?: boolean }): Promise<void> {
  const folder = await folderOf(flags)
  let [was, atProvider] = [false, 'not asked']
  try {
    const [profile, tokens] = [folder.profile(), folder.tokens()]
    was = tokens !== undefined
    if (profile !== undefined && tokens !== undefined) {
      const { revoked } = await import('../../people/provider.ts')
      atProvider = (await revoked(profile, tokens)) ? 'revoked' : 'the provider takes nothing back'
    }
  } catch (reason) {
    // What is kept goes in any case.
    was = true
    atProvider = RingfenceError.from(reason, 'UNAVAILABLE').message
  }
  if (flags.forget === true) folder.remove()
  else folder.removeTokens()
  const { profile } = flags
  if (flags.output === 'json') printJson({ profile, loggedOut: was, provider: atProvider })
  else if (!was) print(`nobody was logged in with profile ${profile}`)
  else {
    print(`logged out of profile ${profile}`)
    if (atProvider !== 'revoked') print(`at the provider: ${atProvider}`)
    print('a session that is open lives until its token ends')
  }
}

async function whoami(flags: ProfileFlags & { output: Format }): Promise<void> {
  const folder = await folderOf(flags)
  const profile = folder.profile()
  const [{ LogInDue }, { currentTokens }] = await Promise.all([
    import('../../people/provider.ts'),
    import('../../people/log-in-kept.ts'),
  ])
  if (profile === undefined || folder.tokens() === undefined) {
    const others = folder.names().filter((name) => name !== folder.name)
    const known = others.length === 0 ? '' : `; there are profiles ${others.slice(0, 8).join(', ')}`
    throw new LogInDue(`nobody is logged in with profile ${folder.name}${known}`, folder.name)
  }
  const tokens = await currentTokens(folder, Date.now())
  const one = shown(folder, profile, tokens)
  if (flags.output === 'json') {
    printJson(one)
    return
  }
  const rows = [
    ['subject', one.subject],
    ['issuer', one.issuer],
    ['door', one.door ?? 'none (ringfence login --door host:port)'],
    ['token', `${tokens.kind} token, for ${formatDuration(tokens.expiresAtMs - Date.now())}`],
    ['renewed', one.renewable ? 'yes, by itself' : 'no: log in again then'],
    ['profile', one.profile],
  ]
  print(table(['PERSON', one.name ?? one.subject], rows))
}

function shown(folder: ProfileFolder, profile: Profile, tokens: Tokens) {
  const { door } = profile
  return {
    profile: folder.name,
    name: tokens.name,
    subject: tokens.subject,
    issuer: tokens.issuer,
    clientId: tokens.clientId,
    token: tokens.kind,
    expiresAt: new Date(tokens.expiresAtMs).toISOString(),
    renewable: tokens.refreshToken !== undefined,
    door: door === undefined ? undefined : `${door.address}:${door.port}`,
  }
}

/** For people, beside what a program reads. */
function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

function hasBrowser(): boolean {
  const { SSH_CONNECTION: ssh, DISPLAY: display, WAYLAND_DISPLAY: wayland } = process.env
  if (ssh !== undefined) return false
  return process.platform === 'linux' ? (display ?? wayland) !== undefined : true
}

/** Where there is none, the address that was printed is enough. */
function openBrowser(address: string): void {
  const [program, ...args] =
    process.platform === 'darwin'
      ? ['open']
      : process.platform === 'win32'
        ? ['rundll32', 'url.dll,FileProtocolHandler']
        : ['xdg-open']
  const child = spawn(program!, [...args, address], { stdio: 'ignore', detached: true })
  child.on('error', () => {})
  child.unref()
}
