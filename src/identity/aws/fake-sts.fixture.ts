/**
 * AWS STS as far as a pre-signed GetCallerIdentity goes: it verifies the signature, by the rules of Signature Version 4 and without any code of
 * ours, and answers as the real one was recorded.
 */
import { createHash, createHmac } from 'node:crypto'

/** A request and an answer of HTTP, as far as they matter here. */
interface Asked {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}
interface Answer {
  readonly status: number
  readonly contentType: string
  readonly body: string
}

export interface AwsKey {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
  readonly account: string
  readonly arn: string
}

const lifeMs = 15 * 60_000

export class FakeSts {
  readonly keys = new Map<string, AwsKey>()
  /** Too many requests. */
  throttles = false
  readonly nowMs: () => number

  constructor(nowMs: () => number = Date.now) {
    this.nowMs = nowMs
  }

  readonly answer = ({ method, path, headers }: Asked): Answer => {
    if (this.throttles) return fault(400, 'Throttling')
    const query = new Map(
      (path.split('?')[1] ?? '').split('&').map((pair) => pair.split('=').map(decodeURIComponent) as [string, string]),
    )
    const [accessKeyId = '', day = '', region = '', service = '', end = ''] = (
      query.get('X-Amz-Credential') ?? ''
    ).split('/')
    const key = this.keys.get(accessKeyId)
    const sessionToken = query.get('X-Amz-Security-Token')
    if (key === undefined || key.sessionToken !== sessionToken) return fault(403, 'InvalidClientTokenId')
    const date = query.get('X-Amz-Date') ?? ''
    const signedMs = Date.parse(date.replace(/^(....)(..)(..)T(..)(..)(..)Z$/, '$1-$2-$3T$4:$5:$6Z'))
    if (Math.abs(this.nowMs() - signedMs) > lifeMs) return fault(403, 'SignatureDoesNotMatch')
    const signature = query.get('X-Amz-Signature')
    query.delete('X-Amz-Signature')
    const names = (query.get('X-Amz-SignedHeaders') ?? '').split(';')
    const canonical = [
      method,
      '/',
      [...query]
        .map(([name, value]) => `${escaped(name)}=${escaped(value)}`)
        .sort()
        .join('&'),
      ...names.map((name) => `${name}:${String(headers[name] ?? '').trim()}`),
      '',
      names.join(';'),
      sha256(''),
    ].join('\n')
    const scope = [day, region, service, end].join('/')
    const signed = ['AWS4-HMAC-SHA256', date, scope, sha256(canonical)].join('\n')
    let secret: Buffer | string = `AWS4${key.secretAccessKey}`
    for (const part of [day, region, service, end]) secret = createHmac('sha256', secret).update(part).digest()
    if (createHmac('sha256', secret).update(signed).digest('hex') !== signature)
      return fault(403, 'SignatureDoesNotMatch')
    if (query.get('Action') !== 'GetCallerIdentity') return fault(403, 'AccessDenied')
    const result = { Account: key.account, Arn: key.arn, UserId: 'AROAEXAMPLEEXAMPLE000:session' }
    const ResponseMetadata = { RequestId: '6b5a3f0a-7d2e-4a8b-9e0f-1c2d3e4f5a6b' }
    return json(200, { GetCallerIdentityResponse: { GetCallerIdentityResult: result, ResponseMetadata } })
  }
}

function fault(status: number, Code: string): Answer {
  return json(status, { Error: { Code, Message: 'of no interest', Type: 'Sender' }, RequestId: '6b5a3f0a' })
}

function json(status: number, value: unknown): Answer {
  return { status, contentType: 'application/json', body: JSON.stringify(value) }
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

function escaped(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`)
}
