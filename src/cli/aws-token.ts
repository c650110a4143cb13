/**
 * Passwords that prove an AWS role, made with the credentials that AWS's own library finds: environment, profile, container, instance. This file
 * is loaded for the verb `aws-token` only.
 */
import { randomInt } from 'node:crypto'
import { GetWebIdentityTokenCommand, STSClient } from '@aws-sdk/client-sts'
import { Hash } from '@smithy/hash-node'
import { SignatureV4 } from '@smithy/signature-v4'
import { RingfenceError } from '../base/errors.ts'
import { stsHostOf } from '../identity/aws/hosts.ts'
import { presignedMsMax, presignedPrefix, serverHeader } from '../identity/aws/presigned.ts'

export interface AwsPassword {
  readonly password: string
  readonly expiresAtMs: number
}

export interface WebIdentityOptions {
  readonly region: string | undefined
  readonly audience: string
  readonly algorithm: 'RS256' | 'ES384'
  readonly durationMs: number
}

/** A GetCallerIdentity, signed for the mesh `serverId` and for 15 minutes; AWS is not asked. */
export async function presignedPassword(
  serverId: string,
  region: string | undefined,
  nowMs: number,
): Promise<AwsPassword> {
  const client = clientOf(region)
  const [credentials, signedFor] = await Promise.all([client.config.credentials(), client.config.region()]).catch(
    noCredentials,
  )
  const host = stsHostOf(signedFor)
  if (host === undefined) throw notOne(signedFor)
  const signer = new SignatureV4({ credentials, region: signedFor, service: 'sts', sha256: Hash.bind(null, 'sha256') })
  // Nobody looks at the end that it says; so two hosts with the same credentials hardly make the same request in one second.
  const signingDate = new Date(nowMs - (nowMs % 1000))
  const { query = {} } = await signer.presign(
    {
      method: 'GET',
      protocol: 'https:',
      hostname: host,
      path: '/',
      query: { Action: 'GetCallerIdentity', Version: '2011-06-15' },
      headers: { host, [serverHeader]: serverId },
    },
    { signingDate, expiresIn: presignedMsMax / 1000 - randomInt(300) },
  )
  const pairs = Object.entries(query).map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`)
  const url = `https://${host}/?${pairs.join('&')}`
  return {
    password: presignedPrefix + Buffer.from(url).toString('base64url'),
    expiresAtMs: signingDate.getTime() + presignedMsMax,
  }
}

/** A token of GetWebIdentityToken, which AWS makes. */
export async function webIdentityPassword(options: WebIdentityOptions): Promise<AwsPassword> {
  const { region, audience, algorithm, durationMs } = options
  const client = clientOf(region)
  const answer = await client
    .send(
      new GetWebIdentityTokenCommand({
        Audience: [audience],
        SigningAlgorithm: algorithm,
        DurationSeconds: Math.floor(durationMs / 1000),
      }),
    )
    .catch(noCredentials)
  const { WebIdentityToken: password, Expiration: expiration } = answer
  if (password === undefined || expiration === undefined)
    throw new RingfenceError('UNAVAILABLE', 'AWS STS gave no token')
  return { password, expiresAtMs: expiration.getTime() }
}

function clientOf(region: string | undefined): STSClient {
  if (region !== undefined && stsHostOf(region) === undefined) throw notOne(region)
  return new STSClient(region === undefined ? {} : { region })
}

function notOne(region: string): RingfenceError {
  return new RingfenceError('USAGE', `not a region of AWS: ${JSON.stringify(region.slice(0, 64))}`)
}

function noCredentials(reason: unknown): never {
  const { name = '', message = String(reason) } = reason instanceof Error ? reason : {}
  if (name === 'CredentialsProviderError' || name === 'TokenProviderError' || /region is missing/i.test(message)) {
    throw new RingfenceError('USAGE', `AWS's credentials or region are not found: ${message}`, {
      hint: 'AWS_PROFILE and AWS_REGION, or the role of the container or instance; aws sts get-caller-identity must work',
    })
  }
  const hint = /OutboundWebIdentityFederation/.test(`${name} ${message}`)
    ? 'once for the account: aws iam enable-outbound-web-identity-federation'
    : 'the role needs sts:GetWebIdentityToken; the region must not be the global one'
  throw new RingfenceError('UNAVAILABLE', `AWS STS refuses: ${name} ${message}`, { hint })
}
