"""Wrong answers to the labs' exercises: what their checks must reject.

WRONG[lab][exercise] is a list; each item is a pair (a part of the author's answer, what stands there instead) or a whole answer.
"""

WRONG = {}

WRONG["01_wireframe"] = {
    "psnr": [("math.log10", "math.log"), (".mean()", ".sum()"), ("max(error, 1e-10)", "error"), ("-10 *", "10 *")],
    "plan": [("math.ceil(side / 2**doublings)", "side // 2**doublings"), ("first * 2**doublings - side", "0"),
             ("math.ceil(side / 2**doublings)", "side")],
    "lookup": [("x * w - 0.5", "x * w"), ("clamp(max=w - 1)", "clamp(max=w)"), ("(1 - b) * above_row + b", "b * above_row + (1 - b)"),
               ("grid[:, i, right]", "grid[:, i, j]")],
    "fourier_features": [("2 * math.pi", "math.pi"), ("angle.cos(), angle.sin()", "angle.sin(), angle.cos()"),
                         ("places @ B", "places @ B.abs()")],
    "training_step": [("opt.zero_grad()", "pass"), ("opt.step()", "pass"),
                      ("return loss.item()", "return F.mse_loss(net(), wanted).item()"),
                      ("F.mse_loss(net(), wanted)", "F.l1_loss(net(), wanted)")],
}  # fmt: skip

WRONG["02_strokes"] = {
    "overlap": [(".clamp(min=0)", ""), ("x + 0.5", "x + 1"), ("torch.minimum(high", "torch.maximum(high"), (".clamp(min=0)", ".abs()")],
    "best_fill": [(".mean(1)", ".median(1).values"), ("(before - after)", "(after - before)"), ("(before - after)", "before"),
                  ("((canvas[:, mask] - inside) ** 2).sum()", "((canvas[:, mask] - inside) ** 2).mean()")],
    "solve_colours": [("- background[:, None, None] * rest", ""), ("w @ wanted.T)", "w @ image.flatten(1).T)"),
                      ("torch.linalg.solve(w @ w.T, w @ wanted.T)", "(w @ wanted.T) / w.sum(1, keepdim=True)")],
    "piece": [("blossom(a, b),", "blossom((a + b) / 2, (a + b) / 2),"), ("blossom(b, b)]", "p[2]]"),
              ("u * (1 - v) + v * (1 - u)", "2 * u * (1 - u)")],
}  # fmt: skip

WRONG["03_population"] = {
    "survivors": ["return count // 10", "return max(1, round(count / 10))", "return max(1, -(-count // 10))"],
    "stack": ["return {name: torch.cat([state[name] for state in states]) for name in states[0]}",
              "return {name: torch.stack([state[name] for state in states], -1) for name in states[0]}", "return states[0]"],
    "all_losses": ["return vmap(one_loss)(parameters).mean()",
                   "return one_loss({name: value[0] for name, value in parameters.items()})[None]",
                   "return vmap(one_loss)(parameters) / len(parameters['colour'])"],
    "adam_step": ["m = beta_1 * m + (1 - beta_1) * gradient\n    v = beta_2 * v + (1 - beta_2) * gradient**2\n"
                  "    return parameter - lr * m / (v.sqrt() + eps), m, v",
                  "return parameter - lr * gradient, m, v"],
    "cut": ["return {key: {n: x[:len(index)] for n, x in state[key].items()} for key in ('m', 'v')} | {'steps': state['steps']}",
            "return {key: {n: x[index] for n, x in state[key].items()} for key in ('m', 'v')} | {'steps': 0}",
            "return state"],
}  # fmt: skip

WRONG["04_designs"] = {
    "contrast_ratio": [("sorted([designs.luminance(one), designs.luminance(other)], reverse=True)",
                        "designs.luminance(one), designs.luminance(other)"), ("(darker + 0.05)", "max(darker, 0.01)")],
    "cover": [("np.clip(np.minimum(start + length, cells + 1) - np.maximum(start, cells), 0, 1)",
               "np.minimum(start + length, cells + 1) - np.maximum(start, cells)"),
              ("np.clip(np.minimum(start + length, cells + 1) - np.maximum(start, cells), 0, 1)",
               "((cells + 0.5 >= start) & (cells + 0.5 <= start + length)).astype(float)")],
    "edges": [("max(profile)", "1"), ("1 - profile[0] / full, len(profile) - 1 + profile[-1] / full", "0, len(profile)")],
    "in_line": [(".min(0)", "[0]"),
                ("(edge[:, :, None] - edge[:, None, :]).min(0)", "(edge[:, None, :, None] - edge[None, :, None]).min((0, 1))"),
                ("np.maximum(0, 1 - apart[i, j] / 0.05)", "(1 - apart[i, j] / 0.05)")],
    "hierarchy": [("np.median(others)", "np.median(heights)"), ("return 0.0", "return 1.0"),
                  ("np.clip(np.log(tallest / np.median(others)) / np.log(4), 0, 1)", "np.log(tallest / np.median(others)) / np.log(4)")],
}  # fmt: skip

WRONG["05_unet"] = {
    "iou": [("(answer | truth).sum().item()", "(answer.sum() + truth.sum()).item()"), ("if either else 1.0", "if either else 0.0"),
            ("answer & truth", "answer | truth")],
    "dice_loss": [("1 - ((2 * both", "((2 * both"), ("(2 * both + 1)", "(both + 1)"), ("(2 * both + 1)", "(2 * both)"),
                  ("(p * g).sum((0, 2, 3))", "(p * g).sum((2, 3))")],
    "composite_loss": [(".sigmoid()", ""), ("output[:, 2:-1]", "output[:, 2:-1].sigmoid()"), ("output[:, -1]", "output[:, -1].sigmoid()"),
                       ("alpha[2] * hierarchy", "hierarchy")],
    "padded": [("(0, -width % multiple, 0, -height % multiple)", "(-width % multiple, 0, -height % multiple, 0)"),
               ("(0, -width % multiple, 0, -height % multiple)", "(0, -height % multiple, 0, -width % multiple)"),
               ("-width % multiple", "multiple - width % multiple"), (', mode="replicate"', ""), ("-height % multiple", "-height % 16")],
    "one_step_up": [("[skip, F.interpolate(x, scale_factor=2.0, mode=\"nearest\")]", "[F.interpolate(x, scale_factor=2.0), skip]"),
                    ('mode="nearest"', 'mode="bilinear"')],
}  # fmt: skip

WRONG["06_wnet"] = {
    "weights_of": [(".square().sum(0)", ".abs().sum(0)"), ("weights * (apart < radius**2)", "weights"),
                   ("apart < radius**2", "apart <= radius**2"), (".square().sum(0)", ".square().mean(0)")],
    "n_cut": [("association / volume.clamp_min(1e-12)", "association / volume"), ("len(p) - ", ""),
              ("(p @ w * p).sum(1)", "(p * p).sum(1)"),
              ("(association / volume.clamp_min(1e-12)).sum()", "association.sum() / volume.sum()")],
    "weights_at": [("max(0, -dx) : width - max(0, dx)", ": width - abs(dx)"), ("image[:, dy:,", "image[:, : height - dy,"),
                   ("(dy**2 + dx**2)", "(dy**2 + dx**2) ** 0.5")],
    "matched_iou": [("table[rows, columns].sum()", "table.max(1).sum()"), ("table.shape[1]", "table.shape[0]"), (", maximize=True", "")],
    "k_means_step": [(" if (nearest == k).any() else centres[k]", ""), (".argmin(1)", ".argmax(1)"), (".mean(0)", ".sum(0)")],
}  # fmt: skip

WRONG["07_abstractor"] = {
    "four_channels": [("* 3 / 4", ""), ("weight.mean(dim=1, keepdim=True)", "weight[:, :1]"), ("* 3 / 4", "* 4 / 3")],
    "look_up": [(".clamp(max=len(table) - 2)", ".clamp(max=len(table) - 1)"), ("share = ids - low", "share = (ids - low).detach()"),
                ("(1 - share) * table[low] + share * table[low + 1]", "table[ids.round().long()]")],
    "r_squared": [("true.mean(dim=0)", "true.mean()"), ("return 1 - left / spread", "return left / spread"),
                  ("(said - true).square()", "(said - true).abs()")],
    "heads_loss": [("F.cross_entropy(goal, ", "F.cross_entropy(goal.softmax(1), "), ("+ 16 *", "+ 4 *"),
                   ("12 * F.mse_loss(tone, ", "12 * F.l1_loss(tone, ")],
    "expected_calibration_error": [(".clamp(max=bins - 1)", ""), ("* abs((right", "* ((right"),
                                   ("inside.float().mean().item() *", "1 / bins *")],
    "saliency": [(".abs().sum(dim=1)", ".sum(dim=1).abs()"), ("return slope.abs()", "return slope"),
                 ("answer(f).sum()", "answer(f).mean()")],
}  # fmt: skip

WRONG["08_metrics"] = {
    "frechet_distance": [("- 2 * roots.sum()", "- roots.sum()"),
                         ("(a.mean(0) - b.mean(0)).square().sum()", "(a.mean(0) - b.mean(0)).norm()"),
                         ("torch.cov(a.T)", "torch.cov(a.T, correction=0)"), ("(sigma_a @ sigma_b)", "(sigma_a * sigma_b)"),
                         (".clamp(min=0).sqrt()", ""), (".clamp(min=0)", "")],
    "squared_mmd": [("(k.sum() - k.diagonal().sum()) / (m * (m - 1))", "k.mean()"), ("** 3", "** 2"), ("/ d", ""),
                    ("- 2 * kernel", "- kernel")],
    "precision": [("kthvalue(k + 1, dim=1)", "kthvalue(k, dim=1)"), ("inside.any(dim=1)", "inside.all(dim=1)"),
                  ("torch.cdist(real, real)", "torch.cdist(fake, fake)"), ("inside.any(dim=1)", "inside.any(dim=0)")],
    "path_length": [("/ eps**2", "/ eps"), ("(t + eps)[:, None]", "(eps * torch.ones_like(t))[:, None]"),
                    ("values[cut : len(values) - cut]", "values"), ("here = z1 + t[:, None] * (z2 - z1)", "here = z1"),
                    ("z1 + t[:, None] * (z2 - z1)\n    there = z1 + (t + eps)[:, None] * (z2 - z1)",
                     "z2 + t[:, None] * (z1 - z2)\n    there = z2 + (t + eps)[:, None] * (z1 - z2)")],
    "memorised_share": [("quantile(0.01)", "quantile(0.99)"), ("torch.cdist(fake, train)", "torch.cdist(fake, held_out)"),
                        ("< threshold", "> threshold"), ("honest.quantile(0.01)", "honest.mean()"),
                        ("cdist(held_out, train).min(dim=1)", "cdist(held_out, train).min(dim=0)")],
}  # fmt: skip

WRONG["09_ddpm"] = {
    "q_sample": [("(1 - alpha_bar_t).sqrt()", "(1 - alpha_bar_t)"), ("alpha_bar_t.sqrt() * x0", "alpha_bar_t * x0"),
                 (".view(-1, 1, 1, 1)", "")],
    "cosine_schedule": [("** 2", ""), ("/ f[0]", ""), ("torch.arange(T + 1) / T", "torch.arange(T + 1) / (T + 1)")],
    "from_v": [("signal * x_t - sigma * v", "signal * x_t + sigma * v"), ("signal * v + sigma * x_t", "sigma * v + signal * x_t"),
               ("alpha_bar_t.sqrt()", "alpha_bar_t")],
    "ddim_step": [("(1 - alpha_bar_next).sqrt()", "(1 - alpha_bar_t).sqrt()"), ("alpha_bar_next.sqrt() * x0", "alpha_bar_t.sqrt() * x0"),
                  ("(x_t - alpha_bar_t.sqrt() * x0) / (1 - alpha_bar_t).sqrt()", "x_t - x0"), ("return", "return x0 if t_next >= 0 else")],
    "update": [("1 - decay", "decay"), ("(1 + k) / (10 + k)", "(10 + k) / (1 + k)"), ("min(decay", "max(decay")],
}  # fmt: skip

WRONG["10_designer"] = {
    "drop_conditions": [("dropped[:, None, None], null, tokens", "dropped[None, :, None], null, tokens"),
                        ("null, tokens)", "tokens, null)"), ("null, tokens", "null.detach(), tokens")],
    "cross_attention": [("softmax(dim=2)", "softmax(dim=1)"), (" / q.shape[-1] ** 0.5", ""),
                        ("pixels @ w_q, tokens", "2 * pixels @ w_q, tokens"),
                        ("return weights @ v", "return weights @ k")],
    "guide": [("unconditional + g", "conditional + g"), ("conditional - unconditional)", "unconditional - conditional)"),
              (".clamp(-1, 1)", "")],
    "ddim_step": [("alpha_bar_next**0.5 * x0", "alpha_bar_t**0.5 * x0"), ("/ (1 - alpha_bar_t) ** 0.5", ""),
                  ("(1 - alpha_bar_next) ** 0.5", "(1 - alpha_bar_t) ** 0.5")],
    "put_back": [("hole, x, noised", "hole, noised, x"), ("alpha_bar_t**0.5 * x0 +", "x0 +"), ("noised)", "x0.expand_as(x))")],
    "start": [("* len(alpha_bar)) - 1", "* len(alpha_bar))"), ("if t < 0", "if t < -1"),
              ("(1 - alpha_bar[t]).sqrt()", "(1 - alpha_bar[t])"), ("return -1, x0", "return 0, x0"), ("round(", "int("),
              ("if t < 0", "if strength == 0"), ("noise\n", "noise[None]\n")],
}  # fmt: skip
