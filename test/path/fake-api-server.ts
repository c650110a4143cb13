/** A Kubernetes API server as far as TokenReview goes, which answers as a real one was recorded. */
import type { Answer, Asked } from './outside-server.ts'

export interface ReviewedToken {
  readonly username: string
  readonly audiences: readonly string[]
}

export class FakeApiServer {
  /** Whose token may review those of others. */
  reviewer = 'proxy-token'
  /** By token; deleted with its Pod. */
  readonly tokens = new Map<string, ReviewedToken>()

  readonly answer = ({ method, path, headers, body }: Asked): Answer => {
    if (headers.authorization !== `Bearer ${this.reviewer}`) return status(401, 'Unauthorized')
    if (method !== 'POST' || path !== '/apis/authentication.k8s.io/v1/tokenreviews') return status(404, 'NotFound')
    const { spec } = JSON.parse(body) as { spec: { token: string; audiences: string[] } }
    const known = this.tokens.get(spec.token)
    const audiences = known?.audiences.filter((one) => spec.audiences.includes(one)) ?? []
    if (known === undefined || audiences.length === 0) {
      return review({ user: {}, error: '[invalid bearer token, service account token has been invalidated]' })
    }
    return review({
      authenticated: true,
      user: { username: known.username, uid: '0f0a2d3e', groups: ['system:authenticated'] },
      audiences,
    })
  }
}

function review(result: unknown): Answer {
  const meta = {
    kind: 'TokenReview',
    apiVersion: 'authentication.k8s.io/v1',
    metadata: { creationTimestamp: null },
    spec: {},
  }
  return { status: 201, body: JSON.stringify({ ...meta, status: result }) }
}

function status(code: number, reason: string): Answer {
  const body = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message: reason, reason, code }
  return { status: code, body: JSON.stringify(body) }
}
