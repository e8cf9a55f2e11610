/** Three waves. */
export const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">
<rect width="16" height="16" rx="3" fill="#2457c5"/>
<g fill="none" stroke="#fff" stroke-width="1.6" stroke-linecap="round"><path d="M4 4.5h5M4 8h8M4 11.5h3"/></g>
</svg>
`;
