/** A browser without a screen: it follows redirects with its cookies, and fills in what it is asked as somebody who says yes. */

export interface Page {
  readonly status: number
  readonly text: string
  readonly url: string
}

const stepsMax = 12

export class Browser {
  readonly #cookies = new Map<string, Map<string, string>>()
  readonly #who: string
  readonly #password: string

  constructor(who: string, password = 'x') {
    this.#who = who
    this.#password = password
  }

  /** Opens an address and goes on until there is nothing more to fill in; the last page. */
  async open(address: string): Promise<Page> {
    let page = await this.#get(address)
    for (let step = 0; step < stepsMax; step++) {
      const form = formIn(page.text, this.#who, this.#password)
      if (form === undefined) return page
      page = await this.#get(new URL(form.action || page.url, page.url).href, form.fields)
    }
    throw new Error(`no end of forms at ${new URL(page.url).origin}`)
  }

  async #get(address: string, fields?: URLSearchParams): Promise<Page> {
    let [url, body] = [address, fields]
    for (let step = 0; step < stepsMax; step++) {
      const { host } = new URL(url)
      const jar = this.#cookies.get(host) ?? new Map<string, string>()
      this.#cookies.set(host, jar)
      const response = await fetch(url, {
        redirect: 'manual',
        method: body === undefined ? 'GET' : 'POST',
        headers: {
          accept: 'text/html',
          cookie: [...jar].map(([name, value]) => `${name}=${value}`).join('; '),
        },
        ...(body === undefined ? {} : { body }),
      })
      for (const line of response.headers.getSetCookie()) {
        const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
        if (value === '') jar.delete(name)
        else jar.set(name, value)
      }
      const location = response.headers.get('location')
      if (location === null) return { status: response.status, text: await response.text(), url }
      await response.arrayBuffer()
      url = new URL(location, url).href
      body = undefined
    }
    throw new Error(`no end of redirects at ${new URL(url).origin}`)
  }
}

/** The first form of a page, filled in as somebody who says yes. */
function formIn(page: string, who: string, password: string): { action: string; fields: URLSearchParams } | undefined {
  const [, attributes = '', inside = ''] = /<form([^>]*)>([\s\S]*?)<\/form>/.exec(page) ?? []
  if (inside === '' || /logout|abort/.test(attributes)) return undefined
  const fields = new URLSearchParams()
  for (const [input] of inside.matchAll(/<(?:input|button)[^>]*>/g)) {
    const [, name] = /name="([^"]+)"/.exec(input) ?? []
    const [, value = ''] = /value="([^"]*)"/.exec(input) ?? []
    if (name === undefined || name === 'abort') continue
    fields.set(name, name === 'login' ? who : name === 'password' ? password : value)
  }
  return { action: /action="([^"]*)"/.exec(attributes)?.[1] ?? '', fields }
}
