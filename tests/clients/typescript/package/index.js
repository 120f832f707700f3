import createFetch from "openapi-fetch";

export const createClient = (options) => createFetch(options);
