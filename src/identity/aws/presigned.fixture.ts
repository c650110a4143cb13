/** Pre-signed requests as AWS's own libraries make them, but for the signature, which is no matter before STS is asked. */
import { presignedPrefix } from './presigned.ts'

export const serverId = 'mesh.example.com'
/** 2026-11-29T12:00:00Z */
export const signedMs = Date.UTC(2026, 10, 29, 12)

/** In the order in which AWS's library for JavaScript writes them. */
export const usualParameters: readonly (readonly [string, string])[] = [
  ['Action', 'GetCallerIdentity'],
  ['Version', '2011-06-15'],
  ['X-Amz-Algorithm', 'AWS4-HMAC-SHA256'],
  ['X-Amz-Credential', 'ASIAQEXAMPLEEXAMPLE0/20261129/eu-central-1/sts/aws4_request'],
  ['X-Amz-Date', '20261129T120000Z'],
  ['X-Amz-Expires', '900'],
  ['X-Amz-Security-Token', 'IQoJb3JpZ2luX2VjEXAMPLE//+token/=='],
  ['X-Amz-SignedHeaders', 'host;x-ringfence-server'],
  ['X-Amz-Signature', '0f'.repeat(32)],
]

/** The usual parameters with some in the place of others; undefined leaves one out. */
export function queryWith(changed: Readonly<Record<string, string | undefined>> = {}): string {
  return usualParameters
    .map(([name, value]) => [name, Object.hasOwn(changed, name) ? changed[name] : value] as const)
    .filter((pair): pair is readonly [string, string] => pair[1] !== undefined)
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
    .join('&')
}

export function urlWith(
  changed: Readonly<Record<string, string | undefined>> = {},
  host = 'sts.eu-central-1.amazonaws.com',
): string {
  return `https://${host}/?${queryWith(changed)}`
}

export function passwordOf(url: string): string {
  return presignedPrefix + Buffer.from(url).toString('base64url')
}
