/** `aws-token`: a password that proves an AWS role. */
import { type Command, Option } from 'commander'
import { RingfenceError } from '../../base/errors.ts'
import { durationOption } from '../options.ts'
import { type Format, printAsIs, printJson } from '../output.ts'
import { withOutput } from './admin-command.ts'

interface AwsTokenFlags {
  readonly server?: string
  readonly audience?: string
  readonly region?: string
  readonly algorithm: 'RS256' | 'ES384'
  readonly duration: number
  readonly output: Format
}

export function addAwsToken(program: Command): void {
  const command = program
    .command('aws-token')
    .description('print a password that proves an AWS role, with the credentials that are here')
    .option('--audience <name>', 'a token of GetWebIdentityToken for it, as `audiences` of the provider names it')
    .option('--server <id>', 'or a pre-signed GetCallerIdentity for it, as `serverId` of the provider names it')
    .option('--region <region>', 'of AWS STS; AWS_REGION where it is not given')
    .addOption(
      new Option('--algorithm <name>', 'by which AWS signs the token').choices(['RS256', 'ES384']).default('RS256'),
    )
    .addOption(durationOption('--duration <duration>', 'life of the token, 1m to 1h', '5m'))
  withOutput(command).action(run)
}

async function run(flags: AwsTokenFlags): Promise<void> {
  const { server, audience, region, algorithm, duration: durationMs } = flags
  if ((server === undefined) === (audience === undefined)) {
    throw new RingfenceError('USAGE', 'either --audience or --server is needed', {
      hint: '--audience for a provider of the type aws, --server for one of the type aws-sts',
    })
  }
  const { presignedPassword, webIdentityPassword } = await import('../aws-token.ts')
  const { password, expiresAtMs } =
    audience === undefined
      ? await presignedPassword(server ?? '', region, Date.now())
      : await webIdentityPassword({ region, audience, algorithm, durationMs })
  if (flags.output === 'json') printJson({ password, expiresAt: new Date(expiresAtMs).toISOString() })
  else printAsIs(password)
}
