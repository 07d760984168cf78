// SPDX-License-Identifier: MIT
export const nothing = 1;
