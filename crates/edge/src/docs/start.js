'use strict';
// Swagger UI, with a session that lives as long as the tab.
(() => {
  const KEY = 'headwater.session';
  // What is not for people who build clients stands last, and folded.
  const APART = ['Operations', 'System'];
  // A token that is about to expire is refreshed before it is sent.
  const EARLY_MILLISECONDS = 30000;
  const at = (id) => document.getElementById(id);
  let ui;
  let refreshing;
  // Swagger UI has read the document, and has a token of ours.
  let ready = false;
  let authorized = false;

  const read = () => {
    try { return JSON.parse(sessionStorage.getItem(KEY)); } catch { return null; }
  };
  const keep = (login, session) => {
    const expires = Date.now() + session.expires_in * 1000;
    sessionStorage.setItem(KEY, JSON.stringify({
      login, expires, access_token: session.access_token, refresh_token: session.refresh_token,
    }));
    show();
  };
  const forget = () => { sessionStorage.removeItem(KEY); show(); };
  const send = async (method, path, body, token) => {
    const headers = {};
    if (body) headers['Content-Type'] = 'application/json';
    if (token) headers.Authorization = `Bearer ${token}`;
    const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
    const text = await answer.text();
    return { ok: answer.ok, body: text ? JSON.parse(text) : {} };
  };
  const tell = (problem) => {
    const errors = (problem.errors || []).map((error) => `${error.pointer || error.parameter}: ${error.detail}`);
    at('told').textContent = [problem.title, problem.detail, ...errors].filter(Boolean).join(' — ');
  };

  const show = () => {
    const session = read();
    at('sign-in').hidden = !!session;
    at('signed-in').hidden = !session;
    at('who').textContent = session ? session.login : '';
    if (!ready) return;
    if (session) ui.preauthorizeApiKey('bearer', session.access_token);
    else if (authorized) ui.authActions.logout(['bearer']);
    authorized = !!session;
  };

  // Once, however many ask at the same time.
  const fresh = () => {
    const session = read();
    if (!session || session.expires - EARLY_MILLISECONDS > Date.now()) return session;
    refreshing ||= send('POST', '/v1/sessions/refresh', { refresh_token: session.refresh_token })
      .then((answer) => {
        if (answer.ok) keep(session.login, answer.body);
        else { forget(); tell(answer.body); }
        return read();
      })
      .finally(() => { refreshing = undefined; });
    return refreshing;
  };

  at('sign-in').addEventListener('submit', async (event) => {
    event.preventDefault();
    at('told').textContent = '';
    const form = new FormData(event.target);
    const shown = { login: form.get('login'), password: form.get('password') };
    if (form.get('one_time_code')) shown.one_time_code = form.get('one_time_code');
    const answer = await send('POST', '/v1/sessions', shown);
    if (answer.ok) {
      event.target.reset();
      at('second').hidden = true;
      keep(shown.login, answer.body);
    } else {
      at('second').hidden &&= answer.body.code !== 'second_factor_required';
      tell(answer.body);
    }
  });
  at('sign-out').addEventListener('click', async () => {
    const session = await fresh();
    forget();
    if (session) await send('DELETE', '/v1/sessions/current', undefined, session.access_token);
  });

  // Refusals of an operation are folded until they are asked for.
  const folds = () => ({
    wrapComponents: {
      responses: (Original, { React }) => function Responses(props) {
        const [folded, fold] = React.useState(true);
        const label = folded ? 'Show how it refuses' : 'Hide how it refuses';
        return React.createElement('div', { className: folded ? 'folded' : '' },
          React.createElement(Original, props),
          React.createElement('button', { className: 'fold', onClick: () => fold(!folded) }, label));
      },
    },
  });

  ui = SwaggerUIBundle({
    dom_id: '#ui',
    url: '/openapi.json',
    deepLinking: true,
    displayRequestDuration: true,
    defaultModelsExpandDepth: 0,
    plugins: [folds],
    tagsSorter: (one, other) => APART.indexOf(one) - APART.indexOf(other),
    requestInterceptor: async (request) => {
      if (request.loadSpec || !request.headers.Authorization) return request;
      const session = await fresh();
      if (session) request.headers.Authorization = `Bearer ${session.access_token}`;
      return request;
    },
    onComplete: () => {
      ready = true;
      APART.forEach((tag) => ui.layoutActions.show(['operations-tag', tag], false));
      show();
    },
  });
  show();
})();
